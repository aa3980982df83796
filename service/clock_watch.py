"""Whether this machine's clock is right, seen by Redis' clock, which all nodes ask.

The key decision: nothing that nodes hold in common goes by their own clocks (leases, tickets, orders and resume tokens
expire in Redis). What does go by them is shown to people or lasts for days: the times in the ledger and the audit, the
ends of API keys and overrides, the day that characters count for. So a clock that is off is told in the log, and
nothing is refused for it.
"""

from __future__ import annotations

import time

import structlog

log = structlog.get_logger(__name__)

TOLERATED_SECONDS = 5.0


class ClockWatch:
    """Tells once that the clock is off, and once that it is right again."""

    def __init__(self) -> None:
        self._is_off = False

    def compare(self, seconds: float) -> None:
        """`seconds` is the time by Redis' clock, now."""
        ahead = time.time() - seconds
        is_off = abs(ahead) > TOLERATED_SECONDS
        if is_off and not self._is_off:
            log.warning("this machine's clock is not that of Redis: set one of them", seconds_ahead=round(ahead))
        elif self._is_off and not is_off:
            log.info("this machine's clock is that of Redis again")
        self._is_off = is_off
