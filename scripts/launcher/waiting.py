"""Waiting for a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable

PAUSE_SECONDS = 0.02


def wait_until(condition: Callable[[], object], limit: float = 30.0, what: str = "") -> None:
    """Return as soon as `condition()` is true; it is asked 50 times a second.

    Raises:
        TimeoutError: it was not true within `limit` seconds; the message says `what` was waited for.
    """
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what or getattr(condition, '__name__', 'the condition')}: not within {limit:g} s")
        time.sleep(PAUSE_SECONDS)
