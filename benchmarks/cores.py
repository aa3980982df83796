"""Which core runs what: the relay has one of its own, load generator and fake upstream have the others.

The key decision: the goals are those of one core, and on two a scheduler that moves three busy processes about is what
would be measured. What is not one of the three (Valkey, the kernel's own threads) goes where it likes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RELAY_CORE = 0


@contextmanager
def pinned_load(pids: Iterable[int]) -> Iterator[None]:
    """Keep these processes off the relay's core for the block; with one core there is nothing to do."""
    everywhere = set(range(os.cpu_count() or 1))
    _pin(pids, everywhere - {RELAY_CORE} or everywhere)
    yield
    _pin([os.getpid()], everywhere)  # what we start next is not to inherit it


def pin_relay(pids: Iterable[int]) -> None:
    """Keep these processes on the relay's core."""
    _pin(pids, {RELAY_CORE})


def description() -> str:
    """For the report."""
    if (os.cpu_count() or 1) == 1:
        return "one for everything"
    return "one for the relay, the rest for load generator and fake upstream"


def _pin(pids: Iterable[int], cores: set[int]) -> None:
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(thread.name), cores)
