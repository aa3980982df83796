"""What a load is sent over: nothing but the loopback interface, or a relay."""

from __future__ import annotations

from dataclasses import dataclass

AGENT_ID = "agent_bench"
CONVERSATION_PATH = "/v1/convai/conversation"


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
