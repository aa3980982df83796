"""Jobs that one worker of all nodes runs at a time: when one is due, who runs it, what becomes of a failure.

The key decision: every worker has this thread, and none is special. Each looks when a job is due by what the database
says of its last run, and whoever takes the lease runs it; so a node that dies, hangs or is drained is nobody's concern.
A run that fails is left until the next one is due: a database that is away is not asked again and again.
"""

from __future__ import annotations

import os
import random
import secrets
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from service.errors import ServiceUnavailableError
from service.keeping.run import PAUSE_SECONDS, Run, RunStoppedError
from service.storage import JobRuns

log = structlog.get_logger(__name__)

LEASE_SECONDS = 120.0
"""After which a job is free again whose holder has died; longer than any step (an HTTP call takes 36 s at most)."""

RUN_SECONDS = 300.0
FIRST_LOOK_SECONDS = 10.0
PATIENCE_SECONDS = 60.0
"""After which a job is looked at again that another worker runs, or that a maintenance keeps from running."""

JITTER = 0.1


@dataclass(frozen=True)
class Job:
    """Something that `run` does every `interval_seconds`, if there is work; its result (JSON) is kept.

    `has_work` is asked by every worker, so it only looks; without one, there always is.
    """

    name: str
    interval_seconds: float
    run: Callable[[Run], Mapping[str, Any]]
    has_work: Callable[[], bool] | None = None


class JobRunner:
    """Runs `jobs` in a thread of its own.

    `now` is the moment by the clock that all nodes share; while `is_shut` nothing is run, and what runs is stopped.
    `look` is called before each look at a job, to tell metrics of what the database says.
    """

    def __init__(
        self,
        job_runs: JobRuns,
        jobs: Sequence[Job],
        *,
        now: Callable[[], datetime],
        is_shut: Callable[[], bool],
        look: Callable[[], None],
        run_seconds: float = RUN_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._job_runs = job_runs
        self.jobs = tuple(jobs)
        self._now = now
        self._is_shut = is_shut
        self._look = look
        self._run_seconds = run_seconds
        self._pause_seconds = pause_seconds
        self._holder = f"{socket.gethostname()[:100]}/{os.getpid()}/{secrets.token_hex(4)}"
        self._leaves = threading.Event()
        self._thread: threading.Thread | None = None
        self._works = False
        self._is_away = False

    def start(self) -> None:
        """Begin to look after the jobs: soon, and not at the same moment as every other worker."""
        self._thread = threading.Thread(target=self._attend, name="jobs", daemon=True)
        self._thread.start()

    def close(self, timeout: float = 2.0) -> None:
        """Stop between two steps; waits `timeout` s at most."""
        self._leaves.set()
        if self._thread is not None:
            self._thread.join(timeout)

    @property
    def under_way(self) -> int:
        """1 while a job may write to the database, else 0: never 0 too early in a maintenance."""
        return int(self._works)

    def run(self, job: Job) -> Mapping[str, Any] | None:
        """Run `job` now; None if another runs it already.

        Raises:
            RunStoppedError: it was stopped half-way; the next run goes on.
            ServiceUnavailableError: the database does not answer.
        """
        if not self._job_runs.take(job.name, self._holder, lease_seconds=LEASE_SECONDS):
            return None
        run = Run(
            leaves=self._leaves,
            is_shut=self._is_shut,
            prolong=lambda: self._job_runs.prolong(job.name, self._holder, lease_seconds=LEASE_SECONDS),
            seconds=self._run_seconds,
            pause_seconds=self._pause_seconds,
        )
        try:
            result = job.run(run)
        except Exception:
            with suppress(ServiceUnavailableError):  # then the lease ends by itself
                self._job_runs.release(job.name, self._holder)
            raise
        run.patiently(lambda: self._job_runs.finish(job.name, self._holder, result))
        return result

    # --- The thread

    def _attend(self) -> None:
        due = {job: time.monotonic() + _some(min(job.interval_seconds, FIRST_LOOK_SECONDS)) for job in self.jobs}
        while due and not self._leaves.wait(max(0.0, min(due.values()) - time.monotonic())):
            job = min(due, key=lambda each: due[each])
            due[job] = time.monotonic() + self._look_at(job)

    def _look_at(self, job: Job) -> float:
        """Run the job if it is due; the result is in how many seconds to look again."""
        self._works = True  # before asking for a maintenance: who asks us afterwards is told that we may still write
        try:
            return self._run_if_due(job)
        except RunStoppedError as exc:
            log.info("job stopped", job=job.name, reason=str(exc))
            return _about(min(job.interval_seconds, PATIENCE_SECONDS))
        except Exception as exc:  # noqa: BLE001 (the edge of a worker loop: the other jobs go on)
            self._tell_failure(job, exc)
            return _about(job.interval_seconds)
        finally:
            self._works = False

    def _run_if_due(self, job: Job) -> float:
        if self._is_shut():
            return _about(min(job.interval_seconds, PATIENCE_SECONDS))
        self._look()
        left = self._seconds_left(job)
        self._is_away = False
        if left > 0:
            return left + _some(job.interval_seconds * JITTER)
        if job.has_work is not None and not job.has_work():
            return _about(job.interval_seconds)
        begun = time.monotonic()
        result = self.run(job)
        if result is None:
            return _about(min(job.interval_seconds, PATIENCE_SECONDS))
        log.info("job ran", job=job.name, seconds=round(time.monotonic() - begun, 3), **result)
        self._look()
        return _about(job.interval_seconds)

    def _seconds_left(self, job: Job) -> float:
        last = self._job_runs.last(job.name)
        if last is None or last.finished_at is None:
            return 0.0
        since = (self._now() - last.finished_at).total_seconds()
        return min(job.interval_seconds, job.interval_seconds - since)

    def _tell_failure(self, job: Job, failure: Exception) -> None:
        if isinstance(failure, ServiceUnavailableError):
            if not self._is_away:  # once, not at each look of an outage
                log.warning("job waits for the database", job=job.name)
            self._is_away = True
            return
        # Not its text: SQLAlchemy's quote what a statement was about.
        where = traceback.extract_tb(failure.__traceback__)[-1]
        log.error("job failed", job=job.name, error=type(failure).__name__, at=f"{where.name}:{where.lineno}")


def _about(seconds: float) -> float:
    """`seconds`, a tenth more or less: workers that began together do not stay together."""
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (it is no secret)


def _some(seconds: float) -> float:
    return random.uniform(0.0, seconds)  # noqa: S311 (it is no secret)
