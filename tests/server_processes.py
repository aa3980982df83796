"""The processes of a PostgreSQL server, to be stopped and to go on together."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def send(postmaster: int, number: signal.Signals) -> None:
    """Send a signal to the server's first process and all of its children."""
    for pid in [postmaster, *_children(postmaster)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
    return found
