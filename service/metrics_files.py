"""The files in which each worker counts and from which the ops listener adds up: where they are, and whose is which.

The key decision: a file bears the number of its worker's place, where prometheus_client would put the process id. Who
takes a dead worker's place counts on from where that one stopped: no counter goes down because a worker dies, nothing
has to be merged, and there are never more files than places. What a gauge says is true while its worker lives, so
those files go with it. (django-prometheus' documentation does the same with uwsgi's worker ids.)

Standard library only: gunicorn's master uses this module, and what it imports a worker can no longer patch.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import tempfile
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from service.errors import ConfigurationError

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks for the folder; gunicorn sets it for the workers (`raw_env`)."""

_PREFIX = "vocero-metrics-"
_MEMORY = Path("/dev/shm")  # noqa: S108 (a name of our own there, which nobody can guess and only we may enter)


@functools.cache
def chosen_folder() -> Path:
    """The folder for this run of the service, which is not made yet.

    It lies in memory where that is possible: the files are mapped, and a disk that is slow would hold up a worker in
    the middle of a count. The answer stays the same, because gunicorn asks again when it is told to reload.

    Raises:
        ConfigurationError: nothing can be written anywhere.
    """
    return writable_folder() / f"{_PREFIX}{uuid.uuid4().hex}"


def writable_folder() -> Path:
    """Where small files of ours may go, in memory if possible; raises as `chosen_folder`."""
    if os.access(_MEMORY, os.W_OK | os.X_OK):
        return _MEMORY
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise ConfigurationError(
            f"Neither {_MEMORY} nor a temporary folder can be written to: mount a tmpfs there, or set TMPDIR."
        ) from None


def make(folder: Path) -> int:
    """Make the folder, for nobody else to enter, and remove those that services left which were killed.

    The descriptor that is returned has a lock on it. While it is open here, or in a worker that inherited it, no other
    service takes the folder for one that was left.

    Raises:
        OSError: it cannot be made.
    """
    _remove_abandoned(folder.parent)
    unfinished = folder.with_name(f".{folder.name}")  # a name that is not looked at, until there is the lock
    unfinished.mkdir(mode=0o700)
    held = os.open(unfinished, os.O_RDONLY)
    with contextlib.suppress(OSError):  # a file system without locks: then nothing there is ever taken for abandoned
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    unfinished.rename(folder)
    return held


def _remove_abandoned(above: Path) -> None:
    for folder in above.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # it is in use, or not ours
            looked_at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(looked_at, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(looked_at).st_uid == os.geteuid():  # which nobody else can have put something else for
                    remove(folder)
            finally:
                os.close(looked_at)


def remove(folder: Path) -> None:
    """Remove the folder and the files of ours in it, as far as they are there."""
    with contextlib.suppress(OSError):
        for pattern in ("*.db", "readiness_*", "*.socket"):
            for file in folder.glob(pattern):
                file.unlink(missing_ok=True)
        folder.rmdir()


def free_place(taken: Collection[int]) -> int:
    """The lowest place that no worker has."""
    return next(place for place in range(len(taken) + 1) if place not in taken)


def forget_gauges(folder: Path, place: int) -> None:
    """Remove what the worker that had `place` said about itself. Only while no process has that place."""
    for pattern in (f"gauge_live*_{place}.db", f"readiness_{place}.*"):
        for file in folder.glob(pattern):
            with contextlib.suppress(OSError):
                file.unlink()


@dataclass
class _Seat:
    place: int | None = None


_seat = _Seat()


def take_place(place: int) -> None:
    """This process is the worker at `place` from now on; to be called before anything is counted."""
    _seat.place = place


def place() -> int | None:
    """The place of this process; None if it is no worker, so that what it counts stays in its own memory."""
    return _seat.place
