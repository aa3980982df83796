"""How long the work in hand may still take, told to everything that it calls without a parameter for it.

The key decision: the deadline travels in a `contextvars.ContextVar`, so that a timeout deep below (a socket's, a
pool's) can be cut to what is left of the whole. Each thread and each greenlet has a context of its own and starts
without a deadline; whoever hands work to another one runs it in `contextvars.copy_context()`. A generator must not
yield inside of `deadline`: its caller would inherit it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

SHORTEST_TIMEOUT = 0.001
"""Seconds; what is late gets this, because 0 makes a socket non-blocking and urllib3 refuses it."""

Clock = Callable[[], float]


class Deadline:
    """A point in time, `seconds` from now on `clock` (by default the monotonic one)."""

    __slots__ = ("_at", "_clock")

    def __init__(self, seconds: float, *, clock: Clock | None = None) -> None:
        self._clock = clock or _monotonic
        self._at = self._clock() + seconds

    def remaining(self) -> float:
        """Seconds left, 0.0 when it has passed."""
        return max(0.0, self._at - self._clock())


_deadline: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float, *, clock: Clock | None = None) -> Iterator[Deadline]:
    """Give what runs in the block `seconds`, or less if an outer deadline comes first; yields the one that counts."""
    mine, outer = Deadline(seconds, clock=clock), _deadline.get()
    first = mine if outer is None or mine.remaining() <= outer.remaining() else outer
    token = _deadline.set(first)
    try:
        yield first
    finally:
        _deadline.reset(token)


def remaining_seconds() -> float | None:
    """Seconds left to whoever asks, 0.0 when the deadline has passed; None when there is none."""
    current = _deadline.get()
    return None if current is None else current.remaining()


def within_deadline(timeout: float) -> float:
    """`timeout` in seconds, cut to what is left of the deadline, but not below a millisecond."""
    current = _deadline.get()
    return timeout if current is None else min(timeout, max(SHORTEST_TIMEOUT, current.remaining()))


def _monotonic() -> float:
    return time.monotonic()
