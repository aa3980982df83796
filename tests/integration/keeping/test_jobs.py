"""Which worker runs a job, when, and what becomes of it when something ends half-way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from scripts.launcher.waiting import wait_until
from service.errors import ServiceUnavailableError
from service.keeping.jobs import LEASE_SECONDS, Job, JobRunner
from service.keeping.keeping_jobs import tell_metrics
from service.keeping.run import Run, RunStoppedError
from service.storage import Database, JobRuns, open_database
from service.storage.tombstone_upkeep import TombstoneUpkeep
from tests.servers import free_port

LIMIT = 10.0


def nothing() -> None:
    """What a runner without metrics looks at."""


@pytest.fixture
def runner(database: Database) -> Iterator[Callable[..., JobRunner]]:
    """Make what one worker runs its jobs with: `runner(job, is_shut=...)`."""
    with ExitStack() as stack:

        def make(*jobs: Job, is_shut: Callable[[], bool] = lambda: False, **options: Any) -> JobRunner:
            given: dict[str, Any] = {"now": TombstoneUpkeep(database).now, "look": nothing, "pause_seconds": 0.0}
            made = JobRunner(JobRuns(database), jobs, is_shut=is_shut, **(given | options))
            stack.callback(made.close)
            return made

        yield make


class Steps:
    """A job that goes on, step by step, until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.goes = threading.Event()
        self.runs = 0

    def run(self, run: Run) -> dict[str, Any]:
        self.runs += 1
        self.begun.set()
        while not self.goes.is_set():
            run.step(0.01)
        return {"runs": self.runs}

    def job(self, *, every: float = 3600.0, **options: Any) -> Job:
        return Job("steps", every, self.run, **options)


def test_of_two_workers_one_runs_the_job(database: Database, runner: Callable[..., JobRunner]) -> None:
    steps = Steps()
    one, other = runner(steps.job()), runner(steps.job())
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(one.run(steps.job())))
    thread.start()
    assert steps.begun.wait(LIMIT)
    assert other.run(steps.job()) is None
    steps.goes.set()
    thread.join(LIMIT)
    assert results == [{"runs": 1}]
    last = JobRuns(database).last("steps")
    assert last is not None
    assert (last.result, last.holder) == ({"runs": 1}, None)
    assert other.run(steps.job()) == {"runs": 2}


def test_a_worker_that_died_holds_the_job_only_until_its_lease_ends(
    database: Database, runner: Callable[..., JobRunner]
) -> None:
    job_runs, steps = JobRuns(database), Steps()
    steps.goes.set()
    assert job_runs.take("steps", "a node that died", lease_seconds=LEASE_SECONDS)
    assert runner(steps.job()).run(steps.job()) is None
    past = "datetime('now', '-1 second')" if database.is_sqlite else "now() - INTERVAL '1 second'"
    with database.writing() as session:
        session.execute(text(f"UPDATE job_runs SET lease_until = {past}"))
    assert runner(steps.job()).run(steps.job()) == {"runs": 1}


def test_who_has_lost_the_lease_stops_and_notes_nothing(database: Database, runner: Callable[..., JobRunner]) -> None:
    def run(run: Run) -> dict[str, Any]:
        with database.writing() as session:
            session.execute(text("UPDATE job_runs SET holder = 'another'"))
        run._prolong_at = 0.0
        run.step()
        raise AssertionError("it goes on without a lease")

    with pytest.raises(RunStoppedError, match="another has taken"):
        runner().run(Job("steps", 1.0, run))
    last = JobRuns(database).last("steps")
    assert last is not None
    assert (last.holder, last.finished_at) == ("another", None)


def test_a_job_runs_soon_after_the_start_and_then_not_before_it_is_due(
    database: Database, runner: Callable[..., JobRunner]
) -> None:
    steps = Steps()
    steps.goes.set()
    first = runner(steps.job(every=0.2))
    first.start()
    wait_until(lambda: steps.runs >= 2, LIMIT, "two runs")
    first.close()
    done = steps.runs
    job_runs = JobRuns(database)
    looks: list[float] = []
    second = runner(steps.job())
    looks.append(second._run_if_due(steps.job()))
    assert steps.runs == done
    assert 3500 < looks[0] < 4000
    last = job_runs.last("steps")
    assert last is not None
    assert last.finished_at is not None


def test_every_worker_looks_and_the_job_runs_once_for_each_interval(
    database: Database, runner: Callable[..., JobRunner]
) -> None:
    steps = Steps()
    steps.goes.set()
    workers = [runner(steps.job(every=3600.0)) for _ in range(4)]
    for _ in range(3):
        for worker in workers:
            worker._look_at(steps.job())
    assert steps.runs == 1


def test_without_work_nothing_is_written(database: Database, runner: Callable[..., JobRunner]) -> None:
    job = Steps().job(has_work=lambda: False)
    runner(job)._look_at(job)
    assert JobRuns(database).last("steps") is None


def test_in_a_maintenance_nothing_is_run_and_nothing_written(
    database: Database, runner: Callable[..., JobRunner]
) -> None:
    steps, looked = Steps(), []
    shut = runner(steps.job(), is_shut=lambda: True, look=lambda: looked.append(1))
    assert shut._look_at(steps.job()) <= 66
    assert (steps.runs, looked, shut.under_way) == (0, [], 0)
    assert JobRuns(database).last("steps") is None


def test_a_maintenance_that_begins_stops_the_run_and_frees_the_job(
    database: Database, runner: Callable[..., JobRunner]
) -> None:
    steps, shut = Steps(), threading.Event()
    worker = runner(steps.job(every=0.1), is_shut=shut.is_set)
    worker.start()
    assert steps.begun.wait(LIMIT)
    assert worker.under_way == 1
    shut.set()
    wait_until(lambda: worker.under_way == 0, LIMIT, "no job is under way")
    last = JobRuns(database).last("steps")
    assert last is not None
    assert (last.holder, last.finished_at) == (None, None)


def test_a_process_that_leaves_stops_its_run_at_once_and_another_goes_on(
    database: Database, runner: Callable[..., JobRunner]
) -> None:
    steps = Steps()
    leaving = runner(steps.job(every=0.1))
    leaving.start()
    assert steps.begun.wait(LIMIT)
    leaving.close(LIMIT)
    assert leaving.under_way == 0
    steps.goes.set()
    assert runner().run(steps.job()) == {"runs": 2}


def test_a_job_that_fails_is_free_again_and_its_failure_is_told_without_its_words(
    database: Database, runner: Callable[..., JobRunner], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Run) -> dict[str, Any]:
        raise ValueError("what a user said")

    job = Job("steps", 3600.0, fail)
    worker = runner(job)
    assert worker._look_at(job) > 3000
    told = capsys.readouterr().out
    assert "ValueError" in told
    assert "fail:" in told
    assert "what a user said" not in told
    last = JobRuns(database).last("steps")
    assert last is not None
    assert (last.holder, last.finished_at) == (None, None)


def test_a_database_that_is_away_is_asked_again_at_the_next_interval_and_told_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = open_database(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nothing")
    job_runs, upkeep = JobRuns(away), TombstoneUpkeep(away)
    job = Steps().job()
    looks = []

    def look() -> None:
        looks.append(1)
        tell_metrics(job_runs, upkeep)

    worker = JobRunner(job_runs, [job], now=upkeep.now, is_shut=lambda: False, look=look)
    assert [worker._look_at(job) > 3000 for _ in range(3)] == [True] * 3
    assert len(looks) == 3
    assert capsys.readouterr().out.count("waits for the database") == 1
    away.close()


def test_a_database_that_is_locked_for_a_moment_is_asked_again_at_once() -> None:
    answers: Iterator[int | None] = iter([None, None, 7])

    def step() -> int:
        answer = next(answers)
        if answer is None:
            raise ServiceUnavailableError("locked", retry_after=1.0)
        return answer

    assert Run(pause_seconds=0.0).patiently(step) == 7


def test_a_database_that_stays_locked_is_left_alone_after_a_few_attempts() -> None:
    attempts = []

    def step() -> int:
        attempts.append(1)
        raise ServiceUnavailableError("locked", retry_after=1.0)

    with pytest.raises(ServiceUnavailableError):
        Run(pause_seconds=0.0).patiently(step)
    assert 3 <= len(attempts) <= 6


def test_a_run_prolongs_its_lease_long_before_it_ends(database: Database, runner: Callable[..., JobRunner]) -> None:
    def run(run: Run) -> dict[str, Any]:
        past = "datetime('now', '+2 seconds')" if database.is_sqlite else "now() + INTERVAL '2 seconds'"
        with database.writing() as session:
            session.execute(text(f"UPDATE job_runs SET lease_until = {past}"))
        run._prolong_at = 0.0
        run.step()
        return {}

    def ends() -> timedelta:
        last = JobRuns(database).last("steps")
        assert last is not None
        assert last.lease_until is not None
        return last.lease_until - TombstoneUpkeep(database).now()

    left: list[timedelta] = []
    worker = runner()
    worker.run(Job("steps", 1.0, lambda one: run(one) | {"left": left.append(ends())}))
    assert left[0] > timedelta(seconds=LEASE_SECONDS - 10)
