"""Waiting for a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.5
PAUSES_PER_QUESTION = 4
"""So a fifth of the time at most is spent on asking."""


def wait_until(
    condition: Callable[[], object], limit: float = 30.0, what: str = "", *, pause_seconds: float = PAUSE_SECONDS
) -> None:
    """Return as soon as `condition()` is true; between two questions there is a pause, of `pause_seconds` or more.

    A question that takes long, on a busy machine for one, is asked less often, or asking would keep it busy.

    Raises:
        TimeoutError: it was not true within `limit` seconds; the message says `what` was waited for.
    """
    asked_at = time.monotonic()
    end = asked_at + limit
    while not condition():
        now = time.monotonic()
        if now > end:
            raise TimeoutError(f"{what or getattr(condition, '__name__', 'the condition')}: not within {limit:g} s")
        time.sleep(max(pause_seconds, min(PAUSES_PER_QUESTION * (now - asked_at), LONGEST_PAUSE_SECONDS)))
        asked_at = time.monotonic()
