"""When a part that keeps failing is asked again.

The key decision: as simple as can be. Three failures in a row, and it is left alone for half a minute; every caller of
the process shares what one has found out. It is not the circuit breaker of a provider: there is always a part to fall
back on, so nothing is lost by a probe that fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FAILURES = 3
REST_SECONDS = 30.0


class Patience:
    """One part's failures; safe from several threads. `clock` is for tests."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._again_at = float("-inf")

    @property
    def is_left(self) -> bool:
        """Whether the part may be asked."""
        with self._lock:
            return self._clock() >= self._again_at

    def worked(self) -> None:
        """Forget the failures."""
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        """Note one failure more; after a rest one is enough for the next."""
        with self._lock:
            self._failures += 1
            if self._failures >= FAILURES:
                self._again_at = self._clock() + REST_SECONDS
