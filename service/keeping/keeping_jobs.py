"""The jobs that see to what is kept: retention, erasure, costs; and to the quota.

The key decision: each has its own lease and its own pace. Retention can wait for VOCERO_RETENTION_INTERVAL_SECONDS; an
erasure that somebody has asked for, and a cost that somebody wants to see, cannot, and are looked for each minute and
every five; the quota is read every ten. Where there is nothing to do for them, nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import redis
import structlog

from service import metrics
from service.config import Settings
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.keeping.costs import CostFetch
from service.keeping.erasure import Erasure
from service.keeping.jobs import Job, JobRunner
from service.keeping.provider_requests import ProviderRequests
from service.keeping.quota import QuotaReading, tell_quota
from service.keeping.retention import Retention, periods_of
from service.keeping.run import Run
from service.storage import Database, JobRuns
from service.storage.tombstone_upkeep import TombstoneUpkeep

log = structlog.get_logger(__name__)

RETENTION, ERASURE, COSTS, QUOTA = "retention", "erasure", "costs", "quota"
ERASURE_SECONDS, COST_SECONDS, QUOTA_SECONDS = 60.0, 300.0, 600.0


def make_jobs(
    settings: Settings, database: Database, store: redis.Redis, elevenlabs: ElevenLabsService
) -> tuple[Job, ...]:
    """The jobs that `settings` ask for."""
    interval = settings.retention_interval_seconds
    erasing = ErasureWork(
        database, store, ProviderRequests(database, elevenlabs), keep=timedelta(days=settings.tombstone_days)
    )
    costs = CostFetch(database, elevenlabs)
    jobs = (
        Job(ERASURE, min(interval, ERASURE_SECONDS), erasing.run, erasing.has_work),
        Job(RETENTION, interval, Retention(database, store, periods=periods_of(settings)).run),
        Job(COSTS, min(interval, COST_SECONDS), costs.run, costs.has_work),
        Job(QUOTA, QUOTA_SECONDS, QuotaReading(elevenlabs).run),
    )
    return jobs if settings.cost_fetch else jobs[:2]


def make_job_runner(
    settings: Settings,
    database: Database,
    store: redis.Redis,
    elevenlabs: ElevenLabsService,
    *,
    is_shut: Callable[[], bool],
) -> JobRunner:
    """What runs them; nothing while `is_shut`."""
    job_runs, upkeep = JobRuns(database), TombstoneUpkeep(database)
    return JobRunner(
        job_runs,
        make_jobs(settings, database, store, elevenlabs),
        now=upkeep.now,
        is_shut=is_shut,
        look=lambda: tell_metrics(job_runs, upkeep),
    )


def tell_metrics(job_runs: JobRuns, upkeep: TombstoneUpkeep) -> None:
    """Tell what the database says of retention, open erasures and the quota, so that every worker tells the same."""
    last = job_runs.last(RETENTION)
    at = None if last is None else last.finished_at
    metrics.retention_ran(0.0 if at is None else at.timestamp())
    open_ = upkeep.open()
    metrics.erasures_wait(orders=open_.orders, deletions=open_.deletions)
    quota = job_runs.last(QUOTA)
    tell_quota(None if quota is None else quota.result)


class ErasureWork:
    """Carries out what is open: orders here, deletions at ElevenLabs, and orders that only the mirror knows."""

    def __init__(self, database: Database, store: redis.Redis, requests: ProviderRequests, *, keep: timedelta) -> None:
        self._erasure = Erasure(database, store)
        self._upkeep = TombstoneUpkeep(database)
        self._requests = requests
        self._keep = keep

    def has_work(self) -> bool:
        """Tell whether anything is open."""
        open_ = self._upkeep.open()
        return bool(open_.orders or open_.due) or not self._is_mirrored()

    def run(self, run: Run) -> dict[str, Any]:
        """Carry it out; the result is what went."""
        learned = run.patiently(lambda: self._erasure.learn(self._keep))
        erased = self._erasure.carry_out_all(run)
        asked = self._requests.ask_all(run)
        return {
            "learned": learned,
            "orders": erased.orders,
            "conversations": erased.conversations,
            "confirmed": asked.confirmed,
            "failed": asked.failed,
        }

    def _is_mirrored(self) -> bool:
        try:
            return self._erasure.is_mirrored(self._upkeep.now() - self._keep)
        except redis.RedisError:  # then there is nothing to be done about it
            return True
