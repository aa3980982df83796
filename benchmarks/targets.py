"""What a load is sent over: nothing but the loopback interface, or a relay.

Another relay to compare with is one more entry of `benchmarks.peers.catalogue`.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.fake_upstream import CONVERSATION_PATH

AGENT_ID = "agent_bench"


@dataclass(frozen=True)
class Target:
    """An address that speaks ElevenLabs' protocol. `worker_pids` are the processes whose cost is the relay's cost."""

    name: str
    port: int
    api_key: str
    worker_pids: tuple[int, ...] = ()

    @property
    def conversation_target(self) -> str:
        """Path and query of its conversation socket."""
        return f"{CONVERSATION_PATH}?agent_id={AGENT_ID}"
