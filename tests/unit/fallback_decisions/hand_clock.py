"""A clock that a test sets."""

from __future__ import annotations


class HandClock:
    """Shows what it was set to; `clock()` reads it."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def go_on(self, seconds: float) -> None:
        """Let so much time pass."""
        self.now += seconds
