"""The ledger with everything well: from a note to the stream, to the database, and to whoever takes over."""

from __future__ import annotations

import pytest
import redis

from scripts.launcher.waiting import wait_until
from service.conversation.ledger_history import History
from service.conversation.ledger_stream import INDEX_KEY
from service.storage import Conversations, Database
from tests.integration.ledger.conftest import MakeLedger
from tests.ledgers.stores import connect_patiently
from tests.ledgers.talks import (
    LIMIT,
    began,
    corrected,
    ended,
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


def test_a_whole_conversation_comes_to_the_database_and_nothing_waits_any_more(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    ledger = make_ledger(store)
    note_all(ledger, whole("c1", 9))
    wait_until_whole(database, "c1", 9)
    wait_until(lambda: ledger.pending == 0, LIMIT, "nothing waits")
    wait_until(lambda: store.zcard(INDEX_KEY) == 0, LIMIT, "an empty index")
    assert 3500 < store.ttl(STREAM) <= 3600
    assert [name for name, _ in store.xrange(STREAM)] == [b"%d-0" % number for number in range(1, 17)]


@ON_SQLITE
def test_one_that_goes_on_is_kept_for_a_day(make_ledger: MakeLedger, store: redis.Redis, database: Database) -> None:
    ledger = make_ledger(store)
    note_all(ledger, [began("c1"), said("c1", 1)])
    wait_until(lambda: texts(database, "c1") == [(1, "Hello.")], LIMIT, "in the database")
    wait_until(lambda: store.ttl(STREAM) <= 86_400, LIMIT, "nothing waits any more")
    assert store.ttl(STREAM) > 86_000


@ON_SQLITE
def test_what_a_dead_worker_left_is_drained_by_another(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    dead = make_ledger(store, starts=False)
    note_all(dead, whole("c1"))
    dead.append_once()
    make_ledger(store)
    wait_until_whole(database, "c1")


def test_what_a_consumer_was_given_before_it_died_is_written_by_another(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    dead = make_ledger(store, starts=False)
    note_all(dead, whole("c1"))
    dead.append_once()
    dead._stream.take(["c1"], "dead", 3)
    store.delete("vocero:conversation:c1:drain")  # as it is after ten seconds
    make_ledger(store)
    wait_until_whole(database, "c1")


def test_two_workers_drain_many_conversations_and_none_is_doubled(
    make_ledger: MakeLedger, store: redis.Redis, redis_url: str, database: Database
) -> None:
    with connect_patiently(redis_url) as other_store:
        first, second = make_ledger(store), make_ledger(other_store)
        names = [f"c{number}" for number in range(40)]
        for number, name in enumerate(names):
            note_all((first, second)[number % 2], whole(name, 6))
        for name in names:
            wait_until_whole(database, name, 6)
        wait_until(lambda: first.pending + second.pending == 0, LIMIT, "nothing waits")


@ON_SQLITE
def test_the_history_has_what_the_database_does_not_have_yet_with_corrections_applied(
    make_ledger: MakeLedger, store: redis.Redis
) -> None:
    ledger = make_ledger(store, starts=False)
    note_all(ledger, [began("c1"), leg("c1"), said("c1", 1), said("c1", 2), corrected("c1", 1)])
    ledger.append_once()
    assert ledger.read_history("c1") == History(
        began("c1"), (leg("c1"),), (corrected("c1", 1), said("c1", 2)), last_sequence=5, fence=1
    )
    assert ledger.drain_once()
    store.delete(STREAM)
    found = ledger.read_history("c1")
    assert (found.summary, found.utterances) == (began("c1"), (corrected("c1", 1), said("c1", 2)))
    assert ledger.read_history("c2").is_empty


@ON_SQLITE
def test_a_record_that_the_ledger_cannot_read_holds_up_nobody(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    ledger = make_ledger(store, starts=False)
    note_all(ledger, [began("c1"), said("c1", 1)])
    ledger.append_once()
    store.xadd(STREAM, {"t": 1, "f": 1, "k": "of another release", "r": "{}"}, id="3-0")
    store.xadd(STREAM, {"t": 1, "f": 1, "k": "utterance", "r": '{"text": 4}'}, id="4-0")
    assert ledger.drain_once()
    assert texts(database, "c1") == [(1, "Hello.")]
    assert store.zcard(INDEX_KEY) == 0


@ON_SQLITE
def test_closing_leaves_in_redis_what_the_database_cannot_take(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    ledger = make_ledger(store, conversations=Conversations(database))
    note_all(ledger, whole("c1"))
    ledger.close()
    assert ledger.pending == 0 or store.xlen(STREAM) == 10
    make_ledger(store)
    wait_until_whole(database, "c1")


def test_the_texts_of_words_survive_whatever_is_in_them(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    ledger = make_ledger(store)
    odd = ["\x00", "\ud800 alone", "¿Qué? 🎈", "x" * 20_000, '{"k": "end"}']
    note_all(ledger, [began("c1"), *(said("c1", number, text) for number, text in enumerate(odd, 1)), ended("c1")])
    wait_until(lambda: len(texts(database, "c1")) == 5, LIMIT, "all of it")
    assert [text for _, text in texts(database, "c1")] == ["�", "� alone", "¿Qué? 🎈", "x" * 20_000, '{"k": "end"}']
