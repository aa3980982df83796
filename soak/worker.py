"""What the service's worker holds and uses: memory, descriptors, greenlets, watchers, conversations, CPU."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.processes import cpu_seconds, memory_bytes
from soak.worker_state import STATE_PATH

_SECONDS = 10.0


@dataclass(frozen=True)
class WorkerState:
    """One look at it. `memory` is its proportional set size in bytes, `agents` the open files of the agents."""

    memory: int
    files: int
    greenlets: int
    watchers: int
    conversations: int
    agents: int

    @property
    def counted(self) -> Mapping[str, int]:
        """What must be back to where it was, exactly."""
        return {name: value for name, value in asdict(self).items() if name != "memory"}


class Worker:
    """The worker (`pids`) of the service at `port`, and the process of the agents that it talks to."""

    def __init__(self, port: int, pids: Sequence[int], agents_pid: int) -> None:
        self._port = port
        self._pids = pids
        self._agents_pid = agents_pid

    def look(self) -> WorkerState:
        """Look at it, after a garbage collection in the worker."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)
        try:
            connection.request("GET", STATE_PATH, headers={"Connection": "close"})
            inside = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return WorkerState(
            memory=self.memory,
            files=sum(_open_files(pid) for pid in self._pids),
            agents=_open_files(self._agents_pid),
            **inside,
        )

    @property
    def memory(self) -> int:
        """Proportional set size in bytes."""
        return memory_bytes(self._pids)

    @property
    def cpu(self) -> float:
        """CPU seconds used so far."""
        return cpu_seconds(self._pids)

    @property
    def agents_cpu(self) -> float:
        """CPU seconds that the agents have used so far."""
        return cpu_seconds([self._agents_pid])


def _open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
