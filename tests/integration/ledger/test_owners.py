"""Two workers and one conversation: taken over, fenced off, drained by one that hung."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis

from scripts.launcher.waiting import wait_until
from service.errors import ServiceUnavailableError
from service.metrics import RECORDS_LOST, RecordLoss
from service.storage import Conversations, Database
from tests.integration.ledger.conftest import MakeLedger
from tests.ledgers.stores import connect_patiently
from tests.ledgers.talks import LIMIT, NOW, began, corrected, ended, leg, note_all, said, texts, whole

STREAM = "vocero:conversation:c1:ledger"
ON_SQLITE = pytest.mark.parametrize("kind", ["sqlite"])
"""What has nothing to do with the kind of database is tried on one."""


@ON_SQLITE
def test_who_takes_over_goes_on_and_who_was_taken_over_is_told_and_writes_nothing_more(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    fenced: list[str] = []
    old = make_ledger(store, on_fenced=fenced.append)
    note_all(old, [began("c1"), leg("c1"), said("c1", 1)])
    wait_until(lambda: store.exists(STREAM) and store.xlen(STREAM) == 3, LIMIT, "noted")
    new = make_ledger(store)
    history = new.take_over("c1")
    assert history is not None
    assert history.utterances == (said("c1", 1),)
    note_all(new, [leg("c1", 2), said("c1", 2, "I go on.")])
    note_all(old, [said("c1", 2, "No, I do.")])
    wait_until(lambda: fenced == ["c1"], LIMIT, "the old one is told")
    note_all(old, [said("c1", 3, "And still.")])
    note_all(new, [ended("c1")])
    wait_until(lambda: len(texts(database, "c1")) == 2, LIMIT, "all of it")
    wait_until(lambda: new.pending == 0, LIMIT, "nothing waits")
    assert texts(database, "c1") == [(1, "Hello."), (2, "I go on.")]
    assert fenced == ["c1"]


@ON_SQLITE
def test_an_old_owner_that_notes_nothing_more_hears_of_it_while_something_waits(
    make_ledger: MakeLedger, store: redis.Redis
) -> None:
    fenced: list[str] = []
    old = make_ledger(store, starts=False, on_fenced=fenced.append)
    note_all(old, [began("c1"), said("c1", 1)])
    old.append_once()
    make_ledger(store, starts=False).take_over("c1")
    wait_until(lambda: old.append_once() and fenced == ["c1"], LIMIT, "it is told")


@ON_SQLITE
def test_fences_rise_also_when_redis_has_forgotten_the_one_of_before(
    make_ledger: MakeLedger, store: redis.Redis
) -> None:
    first, second, third = (make_ledger(store, starts=False) for _ in range(3))
    note_all(first, [began("c1")])
    first.append_once()
    assert second.take_over("c1", fence=7) is not None
    fences = [second.read_history("c1").fence]
    assert third.take_over("c1", fence=2) is not None
    fences.append(third.read_history("c1").fence)
    store.flushdb()
    assert second.take_over("c1") is not None
    fences.append(second.read_history("c1").fence)
    assert fences[:2] == [7, 8]
    assert fences[2] > 8


@ON_SQLITE
def test_what_the_same_worker_has_not_sent_when_it_takes_its_own_conversation_over_is_not_lost(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    ledger = make_ledger(store, starts=False)
    note_all(ledger, [began("c1"), said("c1", 1)])
    ledger.append_once()
    note_all(ledger, [said("c1", 2)])
    assert ledger.take_over("c1") is not None
    ledger.append_once()
    assert ledger.drain_once()
    assert [number for number, _ in texts(database, "c1")] == [1, 2]


@ON_SQLITE
def test_nobody_is_taken_over_without_redis(make_ledger: MakeLedger, tmp_path: object) -> None:
    with connect_patiently(f"unix://{tmp_path}/nobody.sock") as away:
        ledger = make_ledger(away, starts=False)
        with pytest.raises(ServiceUnavailableError):
            ledger.take_over("c1")
        assert ledger.read_history("c1").is_empty
        assert not ledger.read_history("c1").is_complete


@ON_SQLITE
def test_two_owners_with_the_same_fence_do_not_mix(make_ledger: MakeLedger, store: redis.Redis) -> None:
    before = RECORDS_LOST.labels(cause=RecordLoss.FENCED.value)._value.get()
    fenced: list[str] = []
    one, other = make_ledger(store, starts=False), make_ledger(store, starts=False, on_fenced=fenced.append)
    note_all(one, [began("c1"), said("c1", 1, "Mine.")])
    note_all(other, [began("c1"), said("c1", 1, "No, mine.")])
    one.append_once()
    other.append_once()
    assert fenced == ["c1"]
    assert one.read_history("c1").utterances == (said("c1", 1, "Mine."),)
    assert RECORDS_LOST.labels(cause=RecordLoss.FENCED.value)._value.get() - before == 2


@ON_SQLITE
def test_an_old_owner_that_comes_first_after_a_flush_does_not_keep_the_new_one_from_going_on(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    fenced: list[str] = []
    old, new = make_ledger(store, starts=False, on_fenced=fenced.append), make_ledger(store, starts=False)
    note_all(old, [began("c1"), *(said("c1", number) for number in range(1, 9))])
    old.append_once()
    assert new.take_over("c1") is not None
    note_all(new, [said("c1", 9, "I go on."), ended("c1")])
    store.flushdb()
    old._book.redis_has("c1", 0)
    note_all(old, [said("c1", 9, "So do I."), *(said("c1", number) for number in range(10, 20))])
    old.append_once()
    assert store.xlen(STREAM) == 20
    wait_until(lambda: new.append_once() and store.xlen(STREAM) == 23, LIMIT, "the new one goes on")
    note_all(old, [said("c1", 20)])
    old.append_once()
    assert fenced == ["c1"]
    assert new.read_history("c1").fence > 1


@ON_SQLITE
def test_an_append_whose_answer_was_lost_is_repeated_without_harm(make_ledger: MakeLedger, store: redis.Redis) -> None:
    ledger = make_ledger(store, starts=False)
    note_all(ledger, whole("c1"))
    for batch in [ledger._book.unsent_batches()] * 3:
        assert ledger._append(batch)
    assert store.xlen(STREAM) == 10


def test_a_consumer_that_hung_and_writes_late_changes_nothing(
    make_ledger: MakeLedger, store: redis.Redis, database: Database
) -> None:
    """Its lease ran out; what it was given was written by another, together with what came later."""
    ledger = make_ledger(store, starts=False)
    note_all(ledger, [began("c1"), leg("c1"), said("c1", 1), said("c1", 2)])
    ledger.append_once()
    hung = make_ledger(store, starts=False)
    [taken] = hung._stream.take(["c1"], hung._drain._holder, 200)
    assert taken is not None
    assert len(taken.entries) == 4
    assert ledger.drain_once()
    assert texts(database, "c1") == []  # it is the other's
    store.delete("vocero:conversation:c1:drain")
    closed = replace(leg("c1"), ended_at=NOW, end_cause="client 1000")
    note_all(ledger, [corrected("c1", 1), closed, ended("c1")])
    ledger.append_once()
    assert ledger.drain_once()
    before = Conversations(database).get("c1")
    assert hung._drain._settle([("c1", taken)]) is not None
    assert Conversations(database).get("c1") == before
    assert before is not None
    assert (before.summary, before.legs) == (ended("c1"), (closed,))
    assert texts(database, "c1") == [(1, "Hel..."), (2, "Hello.")]
