"""Redis gone, hung, flushed, full or read-only; the database away; both; and what was erased meanwhile."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
import redis
import structlog
from sqlalchemy import text

from migrations import runner
from scripts.launcher.waiting import wait_until
from service.conversation.ledger import Ledger
from service.conversation.ledger_stream import INDEX_KEY
from service.errors import ServiceUnavailableError
from service.keeping.erasure import Erasure
from service.keeping.run import Run
from service.metrics import RECORDS_LOST, RECORDS_WRITTEN, RecordLoss, RecordPath
from service.storage import Conversations, Database, SubjectKind, open_database
from service.storage.clock import database_now
from service.storage.record_writer import RecordWriter
from tests import server_processes
from tests.integration.ledger.conftest import MakeLedger, OwnRedis
from tests.ledgers.stores import connect_patiently, hasty
from tests.ledgers.talks import (
    LIMIT,
    began,
    ended,
    expected,
    leg,
    note_all,
    said,
    texts,
    wait_until_whole,
    whole,
)

STREAM = "vocero:conversation:c1:ledger"
ON_SQLITE = pytest.mark.parametrize("kind", ["sqlite"])
"""What has nothing to do with the kind of database is tried on one."""


def lost(cause: RecordLoss) -> float:
    return RECORDS_LOST.labels(cause=cause.value)._value.get()


def lost_all() -> float:
    return sum(lost(cause) for cause in RecordLoss)


def written_directly() -> float:
    return RECORDS_WRITTEN.labels(path=RecordPath.DIRECT.value)._value.get()


class Shut(Conversations):
    """A database that does not answer while `is_away`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.is_away = threading.Event()
        self.asked = threading.Event()

    def _check(self) -> None:
        if self.is_away.is_set():
            self.asked.set()
            raise ServiceUnavailableError("The database does not answer now; try again.", retry_after=2.0)

    def start(self, *arguments: Any, **options: Any) -> bool:
        self._check()
        return super().start(*arguments, **options)

    def put_leg(self, *arguments: Any) -> bool:
        self._check()
        return super().put_leg(*arguments)

    def append(self, *arguments: Any) -> int:
        self._check()
        return super().append(*arguments)

    def get(self, *arguments: Any) -> Any:
        self._check()
        return super().get(*arguments)


# --- Redis ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["killed", "hung", "flushed"])
@ON_SQLITE
def test_a_redis_that_fails_in_the_middle_costs_no_word(
    how: str, make_ledger: MakeLedger, own_redis: OwnRedis, database: Database
) -> None:
    before = lost_all()
    with connect_patiently(own_redis.url) as store:
        ledger = make_ledger(store)
        records = whole("c1", 9)
        note_all(ledger, records[:5])
        wait_until(lambda: store.exists(STREAM), LIMIT, "the first entries")
        if how == "killed":
            own_redis.kill()
        elif how == "hung":
            own_redis.signal(signal.SIGSTOP)
        else:
            store.flushall()
        note_all(ledger, records[5:])
        wait_until_whole(database, "c1", 9)
        if how == "killed":
            own_redis.start()
        own_redis.signal(signal.SIGCONT)
        note_all(ledger, whole("c2", 9))
        wait_until_whole(database, "c2", 9)
        wait_until(lambda: ledger.pending == 0, LIMIT, "nothing waits")
        wait_until(lambda: store.zcard(INDEX_KEY) == 0, LIMIT, "an empty index")
        assert texts(database, "c1") == expected(9)
    assert lost_all() == before


@ON_SQLITE
def test_what_redis_forgot_before_the_database_had_it_is_brought_again(
    make_ledger: MakeLedger, own_redis: OwnRedis, database: Database
) -> None:
    conversations = Shut(database)
    conversations.is_away.set()
    with connect_patiently(own_redis.url) as store:
        ledger = make_ledger(store, conversations=conversations)
        note_all(ledger, whole("c1", 9))
        wait_until(lambda: store.exists(STREAM) and store.xlen(STREAM) == 16, LIMIT, "all of it in Redis")
        store.flushall()
        wait_until(lambda: store.exists(STREAM) and store.xlen(STREAM) == 16, LIMIT, "all of it once more")
        conversations.is_away.clear()
        wait_until_whole(database, "c1", 9)


@ON_SQLITE
def test_of_what_redis_has_only_the_newest_are_kept_in_memory_and_the_beginning(
    make_ledger: MakeLedger, own_redis: OwnRedis, database: Database
) -> None:
    conversations = Shut(database)
    conversations.is_away.set()
    with connect_patiently(own_redis.url) as store:
        ledger = make_ledger(store, conversations=conversations)
        note_all(ledger, [began("c1"), *(said("c1", number) for number in range(1, 501))])
        wait_until(lambda: store.exists(STREAM) and store.xlen(STREAM) == 501, LIMIT, "all of it in Redis")
        wait_until(lambda: ledger.pending <= 202, LIMIT, "most of it is given up")
        before = lost(RecordLoss.FORGOTTEN)
        store.flushall()
        wait_until(lambda: store.exists(STREAM) and store.xlen(STREAM) == 201, LIMIT, "what is left, once more")
        assert lost(RecordLoss.FORGOTTEN) - before == 300
        conversations.is_away.clear()
        wait_until(lambda: len(texts(database, "c1")) == 200, LIMIT, "what is left")


@ON_SQLITE
def test_a_redis_that_takes_nothing_is_passed_by(
    make_ledger: MakeLedger, own_redis: OwnRedis, database: Database
) -> None:
    with connect_patiently(own_redis.url) as store:
        ledger = make_ledger(store)
        note_all(ledger, [began("c1"), leg("c1"), said("c1", 1)])
        wait_until(lambda: ledger.pending == 0, LIMIT, "the first ones")
        before = written_directly()
        store.config_set("maxmemory", "1")
        note_all(ledger, [said("c1", 2)])
        wait_until(lambda: len(texts(database, "c1")) == 2, LIMIT, "without Redis")
        wait_until(lambda: written_directly() > before, LIMIT, "it is counted")
        store.config_set("maxmemory", "0")
        note_all(ledger, whole("c1", 5)[4:])
        wait_until_whole(database, "c1")
        store.replicaof("127.0.0.1", 1)
        note_all(ledger, whole("c2"))
        wait_until_whole(database, "c2")


@ON_SQLITE
def test_a_redis_that_is_nearly_full_is_left_to_others(
    make_ledger: MakeLedger, own_redis: OwnRedis, database: Database
) -> None:
    with connect_patiently(own_redis.url) as store:
        ledger = make_ledger(store, starts=False)
        store.config_set("maxmemory", int(store.info("memory")["used_memory"] * 1.1))
        note_all(ledger, whole("c1"))
        assert ledger.append_once()
        assert not store.exists(STREAM)
        assert ledger.drain_once()
        assert texts(database, "c1") == expected(5)
        store.config_set("maxmemory", 0)
        note_all(ledger, whole("c2"))
        wait_until(lambda: ledger.append_once() and store.exists("vocero:conversation:c2:ledger"), LIMIT, "room again")


@ON_SQLITE
def test_somebody_elses_key_in_the_place_of_a_stream_costs_no_word_and_holds_up_no_other(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    store.set(STREAM, "what is this?")
    ledger = make_ledger(store)
    note_all(ledger, whole("c1"))
    note_all(ledger, whole("c2"))
    wait_until_whole(database, "c1")
    wait_until_whole(database, "c2")


# --- The database --------------------------------------------------------------------------------------------------


@ON_SQLITE
def test_while_the_database_is_away_redis_keeps_everything(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    conversations = Shut(database)
    conversations.is_away.set()
    ledger = make_ledger(store, conversations=conversations)
    note_all(ledger, whole("c1"))
    assert conversations.asked.wait(LIMIT)
    wait_until(lambda: store.exists(STREAM) and store.xlen(STREAM) == 10, LIMIT, "all of it in Redis")
    assert store.ttl(STREAM) > 86_400
    assert len(ledger.read_history("c1").utterances) == 5
    assert not ledger.read_history("c1").is_complete
    conversations.is_away.clear()
    wait_until_whole(database, "c1")


def test_a_database_that_is_locked_is_waited_for(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    ledger = make_ledger(store)
    with database.writing() as session:
        if not database.is_sqlite:
            session.execute(text("LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE"))
        note_all(ledger, whole("c1"))
        wait_until(lambda: store.exists(STREAM) and store.xlen(STREAM) == 10, LIMIT, "all of it in Redis")
    wait_until_whole(database, "c1")


def test_a_postgresql_that_is_stopped_keeps_nobody_from_noting_and_gets_it_all_when_it_goes_on(
    store: redis.Redis, own_postgresql: tuple[str, int]
) -> None:
    url, postmaster = own_postgresql
    runner.upgrade(url)
    database = open_database(url)
    kept = Conversations(database)
    client = hasty(store)
    ledger = Ledger(client, kept, RecordWriter(kept))
    ledger.start()
    note_all(ledger, [began("c0"), said("c0", 1)])
    wait_until(lambda: len(texts(database, "c0")) == 1, LIMIT, "the first one")
    server_processes.send(postmaster, signal.SIGSTOP)
    note_all(ledger, whole("c1"))
    wait_until(lambda: store.exists(STREAM) and store.xlen(STREAM) == 10, LIMIT, "all of it in Redis")
    server_processes.send(postmaster, signal.SIGCONT)
    wait_until_whole(database, "c1")
    ledger.close()
    client.close()
    database.close()


@ON_SQLITE
def test_with_both_away_what_waits_is_bounded_and_what_is_dropped_is_counted_and_said(
    make_ledger: MakeLedger, own_redis: OwnRedis, database: Database
) -> None:
    conversations = Shut(database)
    with connect_patiently(own_redis.url) as store, structlog.testing.capture_logs() as logged:
        ledger = make_ledger(store, conversations=conversations, max_waiting=100)
        conversations.is_away.set()
        own_redis.kill()
        before = lost(RecordLoss.NO_MEMORY)
        note_all(ledger, [began("c1"), *(said("c1", number) for number in range(1, 150))])
        assert ledger.pending in (100, 101)
        assert lost(RecordLoss.NO_MEMORY) - before == 50
        conversations.is_away.clear()
        wait_until(lambda: len(texts(database, "c1")) == 99, LIMIT, "what there was room for")
        own_redis.start()
        note_all(ledger, whole("c2"))
        wait_until_whole(database, "c2")
        wait_until(lambda: "records of conversations were lost" in repr(logged), LIMIT, "that it is told")
    told = [entry for entry in logged if "lost" in entry["event"]]
    assert [entry.get("no_memory") for entry in told] == [None, 50]
    assert "Hello" not in repr(logged)


# --- Maintenance ---------------------------------------------------------------------------------------------------


@ON_SQLITE
def test_in_a_maintenance_it_writes_what_it_noted_itself_and_then_nothing(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    dead = make_ledger(store, starts=False)
    note_all(dead, whole("left"))
    dead.append_once()
    is_shut = threading.Event()
    is_shut.set()
    ledger = make_ledger(store, is_shut=is_shut.is_set)
    note_all(ledger, whole("c1"))
    wait_until_whole(database, "c1")
    wait_until(lambda: ledger.pending == 0, LIMIT, "nothing waits")
    assert ledger.drain_once()
    assert Conversations(database).get("left") is None
    is_shut.clear()
    wait_until_whole(database, "left")


# --- Erasure -------------------------------------------------------------------------------------------------------


def test_what_was_erased_before_it_was_drained_stays_erased(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    conversations = Shut(database)
    erasure = Erasure(database, store, settle_seconds=0.0)
    with database.reading() as session:
        now = database_now(session)
    conversations.is_away.set()
    ledger = make_ledger(store, conversations=conversations)
    note_all(ledger, [began("c1", user="ana", at=now), leg("c1"), said("c1", 1)])
    wait_until(lambda: store.exists(STREAM) and store.xlen(STREAM) == 3, LIMIT, "in Redis")
    erasure.carry_out(erasure.request(SubjectKind.CONVERSATION, "c1", by="ben"), "c1", Run(pause_seconds=0.0))
    assert not store.exists(STREAM)
    conversations.is_away.clear()
    wait_until(lambda: ledger.pending == 0, LIMIT, "nothing waits")
    note_all(ledger, [said("c1", 2), ended("c1")])
    wait_until(lambda: ledger.pending == 0, LIMIT, "nothing waits")
    assert Conversations(database).get("c1") is None
    assert not store.exists(STREAM)
    assert ledger.take_over("c1") is None
    assert "Hello" not in repr([store.dump(key) for key in store.keys("*c1*")])


def test_one_that_goes_on_when_its_user_is_erased_leaves_nothing(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    with database.reading() as session:
        now = database_now(session)
    erasure = Erasure(database, store, settle_seconds=0.0)
    ledger = make_ledger(store, starts=False)
    ledger._drain._writer = RecordWriter(Conversations(database), on_refused=erasure.forget_late)
    note_all(ledger, [began("c1", user="ana", at=now), leg("c1"), said("c1", 1)])
    ledger.append_once()
    assert ledger.drain_once()
    erasure.carry_out(erasure.request(SubjectKind.USER, "ana", by="ben"), "ana", Run(pause_seconds=0.0))
    note_all(ledger, [said("c1", 2)])
    ledger.append_once()
    assert ledger.drain_once()
    assert not store.exists(STREAM)
    note_all(ledger, [said("c1", 3), ended("c1")])
    ledger.append_once()
    assert ledger.drain_once()
    assert (ledger.pending, Conversations(database).get("c1")) == (0, None)
    assert not store.exists(STREAM)
