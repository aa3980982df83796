"""How late the event loop is: in a worker a stall silences every conversation, and nothing else would tell.

The key decision: a thread of the usual kind, which is a greenlet in a worker, sleeps for a moment again and again and
looks how long that took. What is measured so is what a conversation would have waited for. In time costs nothing but
the wake-up: ticks are counted once a second, and only late ones are told.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from service import metrics_platform

TICK_SECONDS = 0.05
LATE_SECONDS = 0.01
"""Less than that is no stall: a packet of audio lasts 20 ms and more."""

_TICKS_A_TIME = 20
_TIMES_REMEMBERED = 10


class LoopWatch:
    """Ticks for as long as it is started; `clock` and `sleep` are those of `time` unless given."""

    def __init__(
        self, *, clock: Callable[[], float] | None = None, sleep: Callable[[float], None] | None = None
    ) -> None:
        self._clock = clock or _monotonic
        self._sleep = sleep or _sleep
        self._is_closed = False
        self._latest: deque[float] = deque(maxlen=_TIMES_REMEMBERED)
        self._late_now = 0.0

    @property
    def recent_lag(self) -> float:
        """How late the latest tick of the last ten seconds was, in seconds; 0: all were in time."""
        largest = max(self._late_now, *self._latest, 0.0)
        return largest if largest > LATE_SECONDS else 0.0

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self.run, name="event loop watch", daemon=True).start()

    def close(self) -> None:
        """End with the next tick; does not wait for it."""
        self._is_closed = True

    def run(self) -> None:
        """Tick until `close`."""
        ticks = 0
        before = self._clock()
        while not self._is_closed:
            self._sleep(TICK_SECONDS)
            now = self._clock()
            late = now - before - TICK_SECONDS
            before = now
            self._late_now = max(self._late_now, late)
            if late > LATE_SECONDS:
                metrics_platform.loop_stalled(late)
            ticks += 1
            if ticks >= _TICKS_A_TIME:
                metrics_platform.loop_ticked(ticks)
                ticks = 0
                self._latest.append(self._late_now)
                self._late_now = 0.0
        metrics_platform.loop_ticked(ticks)


def _monotonic() -> float:
    return time.monotonic()


def _sleep(seconds: float) -> None:
    time.sleep(seconds)
