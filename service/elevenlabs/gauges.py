"""What the pools, the limiters and the retriers say of themselves, told to the metrics once a second.

The key decision: they count for themselves already, under locks of their own. So their numbers are taken over at the
rhythm of the pool reports, as differences where they only rise, and using them costs a request nothing. Two accounts
of ElevenLabs' are one in the metrics: their pools are added up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from service.elevenlabs.asking import OPERATIONS
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.known_faults import known_faults
from service.metrics_elevenlabs import (
    LimiterName,
    PoolEvent,
    PoolName,
    RetryOutcome,
    limiter_is,
    pool_did,
    pool_is,
    retries_were,
    retry_budget_is,
    start_errors,
)
from service.minute_tally import TALLY, PoolCounts
from service.pool_stats import PoolStats
from service.retry import Outcome

LONGEST_STEP_SECONDS = 5.0
"""Between two times that lent connections are believed to have been lent for all of it."""

_COUNTED: dict[PoolEvent, Callable[[PoolStats], int]] = {
    PoolEvent.OPENED: lambda stats: stats.opened,
    PoolEvent.REUSED: lambda stats: stats.reused,
    PoolEvent.FAILED: lambda stats: stats.failed,
    PoolEvent.LOST: lambda stats: stats.lost,
    PoolEvent.TIMEOUT: lambda stats: stats.timeouts,
    PoolEvent.ABANDONED: lambda stats: stats.abandoned,
}

_MINUTES = {pool: PoolCounts.of(pool.value) for pool in PoolName}

_RETRIES = {
    Outcome.REPEATED: RetryOutcome.RETRIED,
    Outcome.NO_ATTEMPT_LEFT: RetryOutcome.GAVE_UP,
    Outcome.NO_TIME_LEFT: RetryOutcome.GAVE_UP,
    Outcome.NO_BUDGET_LEFT: RetryOutcome.BUDGET_SPENT,
}
"""A hedge is counted where it ends."""


class UpstreamGauges:
    """Tells of `services`, the accounts that this worker uses; the limiters are those of the first."""

    def __init__(self, services: Sequence[ElevenLabsService]) -> None:
        self._services = services
        self._told: dict[Any, float] = {}
        self._told_at = time.monotonic()
        self._lock = threading.Lock()
        start_errors(known_faults())

    def tell(self) -> None:
        """Tell how it is now, and what has happened since the last time; it asks nobody."""
        with self._lock:
            self._tell_pools()
            self._tell_limiters()
            self._tell_retries()

    def _tell_pools(self) -> None:
        now = time.monotonic()
        seconds, self._told_at = min(now - self._told_at, LONGEST_STEP_SECONDS), now
        found = [(at, stats) for at, service in enumerate(self._services) for stats in service.pool_stats()]
        for pool in PoolName:
            ours = [(at, stats) for at, stats in found if stats.name == pool]
            pool_is(
                pool,
                idle=sum(stats.idle for _, stats in ours),
                lent=sum(stats.lent for _, stats in ours),
                opening=sum(stats.opening for _, stats in ours),
                waiting=sum(stats.waiting for _, stats in ours),
                limit=sum(stats.max_size for _, stats in ours),
            )
            for event, count in _COUNTED.items():
                for at, stats in ours:
                    pool_did(pool, event, round(self._new((at, pool, event), count(stats))))
            self._tell_minute(pool, ours, seconds)

    def _tell_minute(self, pool: PoolName, ours: Sequence[tuple[int, PoolStats]], seconds: float) -> None:
        """What the charts of the last hour are drawn from; `seconds` have gone by since the last time."""
        counts = _MINUTES[pool]
        for at, stats in ours:
            refused = stats.timeouts + stats.exhausted + stats.unopened + stats.refused
            TALLY.add(counts.lent_seconds, stats.lent * seconds)
            TALLY.add(counts.callers, self._new((at, counts.callers), stats.requests - stats.pending))
            TALLY.add(counts.wait_seconds, self._new((at, counts.wait_seconds), stats.wait_seconds))
            TALLY.add(counts.refused, self._new((at, counts.refused), refused))

    def _tell_limiters(self) -> None:
        found = self._services[0].slot_stats()
        for name in LimiterName:
            if name in found:
                stats = found[name]
                limiter_is(name, cap=stats.cap, in_use=stats.held, waiting=sum(stats.waiting.values()))

    def _tell_retries(self) -> None:
        tokens = 0
        for at, service in enumerate(self._services):
            tokens += service.retrier.budget.stats().available
            for (name, outcome), count in service.retrier.counts().items():
                if outcome in _RETRIES and name in OPERATIONS:
                    new = round(self._new((at, name, outcome), count))
                    retries_were(OPERATIONS[name], _RETRIES[outcome], new)
        retry_budget_is(tokens)

    def _new(self, what: Any, count: float) -> float:
        """By how much it has risen; one that is less than before belongs to a new pool, which began at 0."""
        before = self._told.get(what, 0)
        self._told[what] = count
        return count - before if count >= before else count
