"""What processes and the machine have used, as the kernel counts it (proc(5))."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds, user and system, of these processes with all their threads; counted in steps of 10 ms."""
    return sum(_ticks(pid) for pid in pids) / _TICKS_PER_SECOND


def memory_bytes(pids: Iterable[int]) -> int:
    """Proportional set size: private pages, and a fair share of those that several processes have."""
    return sum(_pss_kilobytes(pid) for pid in pids) * 1024


def busy_cpu_seconds() -> float:
    """CPU seconds that all processes of the machine have used together since it started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = fields
    return (user + nice + system + irq + softirq) / _TICKS_PER_SECOND


def _ticks(pid: int) -> int:
    # The name, in parentheses, may hold spaces: count from behind it. utime and stime are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _pss_kilobytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@dataclass(frozen=True)
class Usage:
    """CPU seconds that each used while something was measured, and how long that took."""

    seconds: float
    client: float
    upstream: float
    worker: float
    others: float


class UsageMeter:
    """Measures from `start` (or its making) to `stop` (or `read`). The client is the process that asks."""

    def __init__(self, *, upstream_pid: int, worker_pids: tuple[int, ...]) -> None:
        self._groups = {"client": (os.getpid(),), "upstream": (upstream_pid,), "worker": worker_pids}
        self._start = self._now()
        self._stop: dict[str, float] | None = None

    def start(self) -> None:
        """Count from here on."""
        self._start, self._stop = self._now(), None

    def stop(self) -> None:
        """Count no further."""
        self._stop = self._now()

    def read(self) -> Usage:
        """What was used in between."""
        used = {name: value - self._start[name] for name, value in (self._stop or self._now()).items()}
        others = max(0.0, used.pop("machine") - used["client"] - used["upstream"] - used["worker"])
        return Usage(**used, others=others)

    def _now(self) -> dict[str, float]:
        counted = {name: cpu_seconds(pids) for name, pids in self._groups.items()}
        return {**counted, "machine": busy_cpu_seconds(), "seconds": time.monotonic()}
