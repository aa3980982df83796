"""A line every few seconds, so that whoever waits knows how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY_SECONDS = 5.0


class Progress:
    """Calls `say` for a line at most every `EVERY_SECONDS`."""

    def __init__(self, say: Callable[[float], str]) -> None:
        self._say = say
        self._begin = time.monotonic()
        self._next = self._begin + EVERY_SECONDS

    @property
    def seconds(self) -> float:
        """Since the making."""
        return time.monotonic() - self._begin

    def tick(self) -> bool:
        """Print a line if it is time for one; whether it was."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + EVERY_SECONDS
        print(f"  {self.seconds:5.0f} s: {self._say(self.seconds)}", flush=True)
        return True
