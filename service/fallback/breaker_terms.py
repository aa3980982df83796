"""The numbers of a breaker, and the values that it deals in.

The key decision: an opening has a name of its own, so that workers who speak of the same outage know it, and one that
comes late with an old one is not believed. The numbers come from Envoy's outlier detection (5 in a row, 30 s times how
often, capped), resilience4j's breaker (rates with a minimum of calls) and redis-py's multi-database client (3 probes,
120 s).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from service.metrics_fallback import BreakerState

RAMP_SHARES = (10, 50, 100)
"""Percent of the conversations that it gets in each third of the ramp."""

RELAPSE_FAILURES = 2
"""Failures in a row that end a ramp."""


@dataclass(frozen=True)
class BreakerTerms:
    """A breaker's numbers. See `service.fallback_settings`; rates are shares of 1.

    `failures_in_a_row` open it at once, and so do two whose first is `death_seconds` old: then nothing works any more.
    """

    window_seconds: float = 30.0
    minimum_calls: int = 5
    failure_rate: float = 0.5
    slow_rate: float = 0.8
    slow_seconds: float = 4.0
    failures_in_a_row: int = 5
    death_seconds: float = 2.0
    open_seconds: float = 15.0
    longest_open_seconds: float = 600.0
    good_probes: int = 3
    probe_seconds: float = 10.0
    dwell_seconds: float = 120.0
    ramp_seconds: float = 60.0
    flap_seconds: float = 600.0


@dataclass(frozen=True)
class Opening:
    """One time that the breaker is open. Times are of the breaker's clock; `probe_at` is when the next probe is due.

    `good` is how many probes in a row were good, `level` how often the open time has doubled.
    """

    id: str
    opened_at: float
    probe_at: float
    level: int
    good: int = 0


@dataclass(frozen=True)
class BreakerStatus:
    """A breaker as the dashboard shows it; seconds from now, shares of 1."""

    state: BreakerState
    calls: int
    failure_rate: float
    slow_rate: float
    good_probes: int
    level: int
    share: float
    open_for_seconds: float | None
    probe_in_seconds: float | None


def open_seconds(terms: BreakerTerms, level: int) -> float:
    """How long it is open when that has happened `level` times before, lately."""
    return float(min(terms.open_seconds * 2 ** min(level, 32), terms.longest_open_seconds))


def is_within(key: str, percent: int) -> bool:
    """Whether the conversation `key` is among so many of a hundred.

    By a checksum and not by chance: one that asks again gets the same answer, in whichever worker.
    """
    return percent >= 100 or (percent > 0 and zlib.crc32(key.encode("utf-8", "replace")) % 100 < percent)
