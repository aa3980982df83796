"""Jobs: one holder at a time on all nodes, and none for ever."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from service.storage import Database, JobRuns, open_database


def let_it_run_out(database: Database) -> None:
    """What time does to the lease of a holder that has died."""
    with database.writing() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        moment = past.isoformat(" ") if not database.is_sqlite else past.replace(tzinfo=None).isoformat(" ")
        session.execute(text("UPDATE job_runs SET lease_until = :past"), {"past": moment})


def test_a_job_is_one_holders_at_a_time(database: Database) -> None:
    jobs = JobRuns(database)
    assert jobs.take("retention", "node 1", lease_seconds=60)
    assert not jobs.take("retention", "node 2", lease_seconds=60)
    assert jobs.take("erasure", "node 2", lease_seconds=60)
    last = jobs.last("retention")
    assert last is not None
    assert last.holder == "node 1"
    assert last.lease_until is not None
    assert last.started_at is not None
    assert timedelta(seconds=59) < last.lease_until - last.started_at <= timedelta(seconds=60)
    assert [job.name for job in jobs.list_all()] == ["erasure", "retention"]


def test_a_job_that_never_ran_is_none(database: Database) -> None:
    assert JobRuns(database).last("retention") is None


def test_a_run_that_comes_to_its_end_leaves_its_result_and_makes_room(database: Database) -> None:
    jobs = JobRuns(database)
    jobs.take("retention", "node 1", lease_seconds=60)
    assert jobs.finish("retention", "node 1", {"utterances": 7})
    last = jobs.last("retention")
    assert last is not None
    assert (last.result, last.holder, last.lease_until) == ({"utterances": 7}, None, None)
    assert last.finished_at is not None
    assert jobs.take("retention", "node 2", lease_seconds=60)
    running = jobs.last("retention")
    assert running is not None
    assert (running.finished_at, running.result) == (last.finished_at, last.result), "the last end is still known"


def test_a_run_that_gives_up_makes_room_and_leaves_no_end(database: Database) -> None:
    jobs = JobRuns(database)
    jobs.take("retention", "node 1", lease_seconds=60)
    assert jobs.release("retention", "node 1")
    last = jobs.last("retention")
    assert last is not None
    assert (last.finished_at, last.holder) == (None, None)
    assert jobs.take("retention", "node 2", lease_seconds=60)


def test_the_lease_of_a_holder_that_died_runs_out(database: Database) -> None:
    jobs = JobRuns(database)
    jobs.take("retention", "node 1", lease_seconds=60)
    let_it_run_out(database)
    assert not jobs.prolong("retention", "node 1", lease_seconds=60)
    assert jobs.take("retention", "node 2", lease_seconds=60)
    assert not jobs.prolong("retention", "node 1", lease_seconds=60)
    assert not jobs.finish("retention", "node 1", {"late": True})
    assert not jobs.release("retention", "node 1")
    last = jobs.last("retention")
    assert last is not None
    assert (last.holder, last.result) == ("node 2", None)


def test_a_late_end_counts_while_nobody_else_has_taken_the_job(database: Database) -> None:
    jobs = JobRuns(database)
    jobs.take("retention", "node 1", lease_seconds=60)
    let_it_run_out(database)
    assert jobs.finish("retention", "node 1", {})


def test_a_holder_that_lives_prolongs_its_lease_and_its_run_goes_on(database: Database) -> None:
    jobs = JobRuns(database)
    jobs.take("retention", "node 1", lease_seconds=60)
    before = jobs.last("retention")
    assert jobs.prolong("retention", "node 1", lease_seconds=600)
    assert jobs.take("retention", "node 1", lease_seconds=6000), "a repetition is no second holder"
    after = jobs.last("retention")
    assert before is not None
    assert after is not None
    assert before.lease_until is not None
    assert after.lease_until is not None
    assert after.lease_until - before.lease_until > timedelta(seconds=5000)
    assert after.started_at == before.started_at


def test_a_new_run_has_a_new_start(database: Database) -> None:
    jobs = JobRuns(database)
    jobs.take("retention", "node 1", lease_seconds=60)
    first = jobs.last("retention")
    let_it_run_out(database)
    jobs.take("retention", "node 2", lease_seconds=60)
    second = jobs.last("retention")
    assert first is not None
    assert second is not None
    assert first.started_at is not None
    assert second.started_at is not None
    assert second.started_at > first.started_at


@pytest.mark.parametrize("ran_before", [False, True])
def test_of_many_nodes_one_gets_the_job(migrated_url: str, ran_before: bool) -> None:
    database = open_database(migrated_url, busy_seconds=20, lock_seconds=20)
    jobs = JobRuns(database)
    if ran_before:
        jobs.take("retention", "long ago", lease_seconds=60)
        let_it_run_out(database)
    got: list[str] = []

    def try_it(node: str) -> None:
        if jobs.take("retention", node, lease_seconds=60):
            got.append(node)

    threads = [threading.Thread(target=try_it, args=(f"node {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    last = jobs.last("retention")
    database.close()
    assert last is not None
    assert got == [last.holder]
