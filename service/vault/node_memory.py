"""A little memory that all workers of a node share, on no disk and in no environment.

The key decision: gunicorn's master makes it (`memfd_create`) before it forks, so every worker has it, later ones too,
and it ends with the last process. A POSIX lock on it lets one of them at a time in, and is let go of when a process is
killed. Linux only, and standard library only: what the master imports a worker can no longer patch.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_LOOK_SECONDS = 0.05
_MOST_BYTES = 65_536


class NodeMemory:
    """At most 64 KiB, empty at first. `read` and `write` are for within `held`."""

    def __init__(self) -> None:
        self._file = os.memfd_create("vocero", os.MFD_CLOEXEC)
        self._threads = threading.Lock()  # POSIX locks do not keep a process's own threads apart

    @contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Have it alone.

        Raises:
            TimeoutError: somebody else has had it for `seconds`.
        """
        deadline = time.monotonic() + seconds
        if not self._threads.acquire(timeout=seconds):
            raise TimeoutError
        try:
            while not self._lock():
                if time.monotonic() > deadline:
                    raise TimeoutError
                time.sleep(_LOOK_SECONDS)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _lock(self) -> bool:
        try:
            # To wait inside of fcntl would silence the whole worker.
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def read(self) -> bytes:
        """What was written last."""
        return os.pread(self._file, _MOST_BYTES, 0)

    def write(self, data: bytes) -> None:
        """Put `data` in the place of what was there."""
        if len(data) > _MOST_BYTES:
            raise ValueError(f"{len(data)} bytes are more than {_MOST_BYTES}")
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, data, 0)

    def close(self) -> None:
        """Let go of it in this process."""
        os.close(self._file)


_shared: NodeMemory | None = None


def share_with_children() -> None:
    """Let the processes that are forked from now on have one memory together."""
    global _shared  # noqa: PLW0603 (it is the process's, and set before there are others)
    _shared = _shared or NodeMemory()


def node_memory() -> NodeMemory:
    """The one that this process shares; one of its own if it shares none."""
    return _shared or NodeMemory()
