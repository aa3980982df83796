"""The quota: read by a job at the sandbox, kept in the database, told by every worker, and never in anybody's way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.keeping.jobs import Job, JobRunner
from service.keeping.keeping_jobs import QUOTA, QUOTA_SECONDS, tell_metrics
from service.keeping.quota import QuotaReading
from service.metrics_elevenlabs import quota_is
from service.storage import Database, JobRuns, open_database
from service.storage.tombstone_upkeep import TombstoneUpkeep
from tests.integration.metrics_upstream.conftest import Arm, StartElevenLabs
from tests.servers import free_port
from tests.told import now


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = open_database(database_url)
    yield database
    database.close()
    quota_is(used=0, limit=0)


def reading(database: Database, service: ElevenLabsService) -> tuple[JobRunner, Job]:
    job_runs, upkeep = JobRuns(database), TombstoneUpkeep(database)
    job = Job(QUOTA, QUOTA_SECONDS, QuotaReading(service).run)
    look = lambda: tell_metrics(job_runs, upkeep)  # noqa: E731
    return JobRunner(job_runs, [job], now=upkeep.now, is_shut=lambda: False, look=look, pause_seconds=0.0), job


def quota() -> tuple[float, float]:
    return tuple(now("elevenlabs_quota_characters", kind=kind) for kind in ("used", "limit"))  # type: ignore[return-value]


def test_a_worker_reads_it_and_another_that_never_asked_tells_the_same(
    database: Database, start_elevenlabs: StartElevenLabs
) -> None:
    service = start_elevenlabs()
    b"".join(service.generate_audio("Twelve chars", voice_id="21m00Tcm4TlvDq8ikWAM"))
    runner, job = reading(database, service)
    result = runner.run(job)
    assert result is not None
    assert 0 < result["used"] < result["limit"]
    quota_is(used=0, limit=0)  # as in a worker that has just started
    tell_metrics(JobRuns(database), TombstoneUpkeep(database))
    assert quota() == (result["used"], result["limit"])


def test_a_reading_that_fails_is_quiet_and_leaves_things_as_they_were(
    database: Database, start_elevenlabs: StartElevenLabs, arm: Arm
) -> None:
    runner, job = reading(database, start_elevenlabs())
    before = runner.run(job)
    arm("user.subscription", status=401, code="invalid_api_key")
    assert runner.run(job) == before
    tell_metrics(JobRuns(database), TombstoneUpkeep(database))
    assert quota() == (before["used"], before["limit"]) if before else False
    nobody, job = reading(database, start_elevenlabs(f"http://127.0.0.1:{free_port()}"))
    assert nobody.run(job) == {}
