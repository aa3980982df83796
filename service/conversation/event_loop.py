"""What the relay needs of an event loop, as gevent's hub has it (`gevent.get_hub().loop`).

The key decision: only the entry points know gevent; the relay is given its loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

READ, WRITE = 1, 2  # libev's names for what a watcher waits for


class Watcher(Protocol):
    """One thing that a loop watches."""

    def start(self, callback: Callable[..., None], /, *args: Any) -> None:
        """Call back whenever it happens, until stopped."""

    def stop(self) -> None:
        """Do not call back any more."""

    def close(self) -> None:
        """Stop for good."""


class Timer(Watcher, Protocol):
    """A watcher of the clock."""

    def again(self, callback: Callable[..., None], /, *args: Any) -> None:
        """Begin anew with the full `repeat`. (`start` after `stop` goes on with what was left of the time.)"""


class Loop(Protocol):
    """An event loop, as gevent's hub has it (`gevent.get_hub().loop`)."""

    def io(self, fd: int, events: int, /) -> Watcher:
        """A watcher of a file descriptor for READ or WRITE."""

    def timer(self, after: float, repeat: float = 0.0, /) -> Timer:
        """A watcher of the clock: after so many seconds, then every `repeat`."""
