"""How many requests a process may repeat: a share of its calls, and a few besides, in a sliding window.

The key decision: attempts per call bound what one caller does, not what all do together. When everything fails, three
attempts each would treble the load on a service that is failing of its load; with a budget an outage is met with a
tenth more (Finagle's RetryBudget and Envoy's retry budget are the models). Calls and repetitions leave the window in
slices, so that its memory is the same for ten calls and for a million.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_SLICES = 20


@dataclass(frozen=True, kw_only=True)
class BudgetStats:
    """One moment of a budget; all of it but `refused`, which counts from the start, is about the window."""

    calls: int
    retries: int
    available: int
    refused: int


class RetryBudget:
    """Of the calls in the last `window_seconds`, a `share` (0 to 1) may be repeated, and `minimum` besides.

    Any number of threads may use it. Time moves on in steps of a twentieth of the window.
    """

    def __init__(
        self,
        *,
        share: float = 0.1,
        minimum: int = 3,
        window_seconds: float = 10.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._share = share
        self._minimum = minimum
        self._slice_seconds = window_seconds / _SLICES
        self._clock = clock or _monotonic
        self._lock = threading.Lock()
        self._calls = [0] * _SLICES
        self._retries = [0] * _SLICES
        self._all_calls = 0
        self._all_retries = 0
        self._refused = 0
        self._now: int | None = None

    def note_call(self) -> None:
        """Count a call, whatever will come of it."""
        with self._lock:
            place = self._move_on()
            self._calls[place] += 1
            self._all_calls += 1

    def take(self) -> bool:
        """Whether one request may be repeated now; if so, it is counted."""
        with self._lock:
            place = self._move_on()
            if self._left() < 1:
                self._refused += 1
                return False
            self._retries[place] += 1
            self._all_retries += 1
            return True

    def stats(self) -> BudgetStats:
        """All numbers, of one moment."""
        with self._lock:
            self._move_on()
            return BudgetStats(
                calls=self._all_calls, retries=self._all_retries, available=self._left(), refused=self._refused
            )

    def _left(self) -> int:
        # Calls leave the window before the repetitions that they have paid for: hence never below 0.
        return max(0, int(self._share * self._all_calls) + self._minimum - self._all_retries)

    def _move_on(self) -> int:
        """Forget the slices that have left the window; the place of the present one."""
        now = int(self._clock() / self._slice_seconds)
        if now == self._now:
            return now % _SLICES
        last = now if self._now is None else self._now
        # A clock that was set back (another one than the monotonic can be) forgets nothing.
        for passed in range(max(last + 1, now - _SLICES + 1), now + 1):
            place = passed % _SLICES
            self._all_calls -= self._calls[place]
            self._all_retries -= self._retries[place]
            self._calls[place] = self._retries[place] = 0
        self._now = max(last, now)
        return self._now % _SLICES


def _monotonic() -> float:
    return time.monotonic()
