"""Orders of the admins: kept in the database, spread by Redis, obeyed from memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import redis

from scripts.launcher.waiting import wait_until
from service.errors import RequestError, ServiceUnavailableError
from service.fallback.override_notes import OverrideNotes
from service.fallback.overrides import CALM_DATABASE_SECONDS, DATABASE_SECONDS, OverrideBoard
from service.fallback.speaking_agents import SpeakingAgents
from service.fallback.upkeep import Upkeep
from service.storage import (
    AuditFilter,
    AuditLog,
    Capability,
    Database,
    Override,
    OverrideConflictError,
    OverrideMode,
    Overrides,
)
from tests.integration.fallback_decisions.conftest import OwnValkey
from tests.unit.fallback_decisions.hand_clock import HandClock

TALK, SPEECH = Capability.CONVERSATION, Capability.SPEECH
AUTO, FORCED, DISABLED = OverrideMode.AUTO, OverrideMode.FORCED_FALLBACK, OverrideMode.DISABLED
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Worker:
    """A board with clocks that the test sets."""

    def __init__(self, database: Database, store: redis.Redis) -> None:
        self.clock = HandClock(0.0)
        self.board = OverrideBoard(
            database, store, now=lambda: START + timedelta(seconds=self.clock.now), clock=self.clock
        )

    def order(self, mode: OverrideMode, *, seen: int = 0, seconds: float | None = 3600.0) -> Override:
        return self.board.set(
            TALK, mode, reason="drill", author="ana", expected_version=seen, seconds=seconds,
            address="192.0.2.7", request_id="req_1",
        )  # fmt: skip

    def looks(self) -> OverrideMode:
        """Look, whether or not Redis answers; the mode that is obeyed afterwards."""
        with suppress(redis.RedisError):
            self.board.look()
        return self.board.mode(TALK)


@pytest.fixture
def worker(database: Database, own_valkey: OwnValkey) -> Worker:
    return Worker(database, own_valkey.client())


@pytest.fixture
def other(database: Database, own_valkey: OwnValkey) -> Worker:
    return Worker(database, own_valkey.client())


@pytest.fixture
def running(database: Database, own_valkey: OwnValkey) -> Iterator[list[OverrideBoard]]:
    """Boards of four workers that look by themselves."""
    boards = [OverrideBoard(database, own_valkey.client()) for _ in range(4)]
    with ExitStack() as stack:
        for board in boards:
            upkeep = Upkeep(board, [], speaking=SpeakingAgents(own_valkey.client()))
            upkeep.start()
            stack.callback(upkeep.close)
        yield boards


def order(board: OverrideBoard, mode: OverrideMode, seconds: float) -> Override:
    version = board.current(TALK).version
    return board.set(TALK, mode, reason="drill", author="ana", expected_version=version, seconds=seconds)


def test_all_workers_obey_within_a_second(running: list[OverrideBoard]) -> None:
    order(running[0], FORCED, 60)
    begun = time.monotonic()
    wait_until(lambda: all(board.mode(TALK) is FORCED for board in running), 5.0)
    assert time.monotonic() - begun < 1.0
    assert all(board.mode(SPEECH) is AUTO for board in running)


def test_it_is_over_for_all_workers_when_its_time_is(running: list[OverrideBoard]) -> None:
    made = order(running[0], FORCED, 1.5)
    assert made.expires_at is not None
    wait_until(lambda: all(board.mode(TALK) is FORCED for board in running), 5.0)
    wait_until(lambda: all(board.mode(TALK) is AUTO for board in running), 5.0)
    assert abs((datetime.now(UTC) - made.expires_at).total_seconds()) < 1.0


def test_the_version_that_is_in_force_is_told_and_none_when_its_time_is_over(worker: Worker) -> None:
    assert worker.board.obeyed() == {TALK: 0, SPEECH: 0}
    worker.order(FORCED, seconds=60.0)
    assert worker.board.obeyed() == {TALK: 1, SPEECH: 0}
    worker.clock.go_on(60.0)
    assert worker.board.obeyed() == {TALK: 0, SPEECH: 0}
    worker.order(AUTO, seen=1)
    assert worker.board.obeyed() == {TALK: 2, SPEECH: 0}


def test_who_orders_obeys_at_once(worker: Worker) -> None:
    assert worker.order(DISABLED).version == 1
    assert worker.board.mode(TALK) is DISABLED
    worker.clock.go_on(3599.9)
    assert worker.board.mode(TALK) is DISABLED
    worker.clock.go_on(0.1)
    assert worker.board.mode(TALK) is AUTO


def test_without_redis_an_order_is_heard_from_the_database(
    worker: Worker, other: Worker, own_valkey: OwnValkey
) -> None:
    assert other.looks() is AUTO
    own_valkey.kill()
    worker.order(FORCED)
    other.clock.go_on(DATABASE_SECONDS)
    assert other.looks() is FORCED


def test_a_hanging_redis_keeps_nobody_from_ordering(worker: Worker, other: Worker, own_valkey: OwnValkey) -> None:
    own_valkey.hang()
    begun = time.monotonic()
    worker.order(FORCED)
    assert worker.board.mode(TALK) is FORCED
    assert other.looks() is FORCED
    assert time.monotonic() - begun < 3.0


def test_without_both_the_last_order_holds_until_it_expires(
    worker: Worker, own_valkey: OwnValkey, no_database: Database
) -> None:
    worker.order(FORCED, seconds=100)
    cut_off = Worker(no_database, own_valkey.client())
    assert cut_off.looks() is FORCED
    own_valkey.kill()
    cut_off.clock.go_on(99)
    assert cut_off.looks() is FORCED
    cut_off.clock.go_on(1)
    assert cut_off.looks() is AUTO


def test_an_emptied_redis_is_filled_again(worker: Worker, own_valkey: OwnValkey, no_database: Database) -> None:
    worker.order(FORCED)
    own_valkey.client().flushall()
    assert worker.looks() is FORCED
    assert Worker(no_database, own_valkey.client()).looks() is FORCED


def test_an_order_that_reached_the_database_alone_is_spread(
    worker: Worker, database: Database, own_valkey: OwnValkey
) -> None:
    worker.looks()
    Overrides(database).set(TALK, DISABLED, reason="x", author="y", expires_at=None, expected_version=0)
    assert worker.looks() is AUTO
    worker.clock.go_on(CALM_DATABASE_SECONDS)
    assert worker.looks() is DISABLED
    worker.looks()  # the database was asked after Redis: it is put there with the next look
    found = OverrideNotes(own_valkey.client()).read()[TALK]
    assert found == worker.board.current(TALK)


def test_an_older_order_never_takes_a_newer_ones_place(worker: Worker, own_valkey: OwnValkey) -> None:
    first = worker.order(DISABLED)
    second = worker.order(FORCED, seen=1)
    assert worker.looks() is FORCED  # and the database is not asked again so soon
    notes = OverrideNotes(own_valkey.client())
    assert not notes.put(first)
    own_valkey.client().flushall()
    assert notes.put(first)
    assert worker.looks() is FORCED
    assert notes.read()[TALK] == second


def test_of_two_admins_at_once_one_is_told_what_the_other_did(worker: Worker, other: Worker) -> None:
    worker.order(DISABLED)
    with pytest.raises(OverrideConflictError) as conflict:
        other.order(FORCED)
    assert conflict.value.current.mode is DISABLED
    other.looks()
    other.order(FORCED, seen=1)
    assert worker.looks() is FORCED


def test_many_admins_at_once_make_one_order_of_each_version(worker: Worker, database: Database) -> None:
    won: list[int] = []
    begin = threading.Barrier(4)

    def press(number: int) -> None:
        begin.wait(10)
        try:
            worker.board.set(TALK, FORCED, reason=f"by {number}", author=f"admin {number}", expected_version=0)
            won.append(number)
        except OverrideConflictError:
            pass

    threads = [threading.Thread(target=press, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (winner,) = won
    assert worker.board.current(TALK).author == f"admin {winner}"
    assert len(AuditLog(database).search(AuditFilter()).items) == 1


def test_an_order_and_its_audit_entry_come_together_or_not_at_all(worker: Worker, database: Database) -> None:
    audit = AuditLog(database)
    worker.order(DISABLED)
    with pytest.raises(OverrideConflictError):
        worker.order(FORCED, seen=7)
    (entry,) = audit.search(AuditFilter(action="override.set")).items
    assert (entry.actor, entry.subject, entry.address, entry.request_id) == (
        "ana", "conversation", "192.0.2.7", "req_1",
    )  # fmt: skip
    assert entry.before is not None
    assert entry.after is not None
    assert orjson.loads(entry.before)["version"] == 0
    assert orjson.loads(entry.after) == {
        "mode": "disabled", "version": 1, "reason": "drill", "expires_at": "2026-03-01T13:00:00+00:00",
    }  # fmt: skip
    assert audit.verify_chain().is_whole


def test_a_database_that_does_not_answer_takes_no_order(own_valkey: OwnValkey, no_database: Database) -> None:
    worker = Worker(no_database, own_valkey.client())
    with pytest.raises(ServiceUnavailableError):
        worker.order(DISABLED)
    assert worker.looks() is AUTO


@pytest.mark.parametrize("name", ["reason", "author"])
def test_an_order_needs_a_reason_and_an_author(worker: Worker, name: str) -> None:
    given = {"reason": "drill", "author": "ana", name: " \n"}
    with pytest.raises(RequestError, match=name):
        worker.board.set(TALK, DISABLED, expected_version=0, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0.0, -1.0, 86_401.0, float("nan"), float("inf"), None])
def test_an_order_lasts_a_day_at_most(worker: Worker, seconds: float | None) -> None:
    with pytest.raises(RequestError, match="seconds"):
        worker.order(DISABLED, seconds=seconds)
    assert worker.board.mode(TALK) is AUTO


def test_who_may_orders_for_longer(worker: Worker) -> None:
    for seen, seconds in enumerate([None, 86_401.0]):
        made = worker.board.set(
            TALK, DISABLED, reason="x", author="y", expected_version=seen, seconds=seconds, allow_unlimited=True
        )
        assert made.expires_at == (None if seconds is None else START + timedelta(seconds=seconds))
    with pytest.raises(RequestError):
        worker.board.set(
            TALK, DISABLED, reason="x", author="y", expected_version=2, seconds=float("inf"), allow_unlimited=True
        )


GARBAGE = [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b'{"version": 99}',
    b'{"version": "x", "mode": "disabled", "reason": "", "author": "", "set_at": null, "expires_at": null}',
    b'{"version": 99, "mode": "off", "reason": "", "author": "", "set_at": null, "expires_at": null}',
    b'{"version": 99, "mode": "auto", "reason": "", "author": "", "set_at": "2026-03-01T00:00:00", "expires_at": 1}',
    b" " * 20_000,
]


@pytest.mark.parametrize("value", GARBAGE, ids=range(len(GARBAGE)))
def test_a_value_that_makes_no_sense_is_as_good_as_none(worker: Worker, own_valkey: OwnValkey, value: bytes) -> None:
    worker.order(FORCED)
    own_valkey.client().set("vocero:override:conversation", value)
    assert worker.looks() is FORCED


def test_a_restored_database_is_believed_when_it_keeps_saying_so(
    worker: Worker, own_valkey: OwnValkey, database: Database
) -> None:
    """Else nobody could end an order whose row is lost: a new one would have a lower version than it."""
    lost = replace(worker.order(DISABLED), version=7, mode=FORCED)
    notes = OverrideNotes(own_valkey.client())
    notes.put(lost)
    assert worker.looks() is FORCED
    assert worker.looks() is FORCED
    worker.clock.go_on(CALM_DATABASE_SECONDS)
    assert worker.looks() is DISABLED
    found = notes.read()[TALK]
    assert found is not None
    assert found.version == 1
