"""What is kept for long enough goes, each kind at its own border, and nothing else."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import text

from service import metrics
from service.keeping.retention import Periods, Retention
from service.keeping.run import Run, RunStoppedError
from service.keeping.tombstone_mirror import TombstoneMirror
from service.storage import (
    AuditFilter,
    AuditLog,
    Conversations,
    Database,
    Leg,
    ProviderDeletions,
    SubjectKind,
    Tombstone,
    Tombstones,
)
from service.storage.audit_chain import entry_hash
from tests.integration.keeping.kept import NOON, counts, ids, keep

DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
PERIODS = Periods(transcripts=30 * DAY, conversations=365 * DAY, audit=365 * DAY, tombstones=400 * DAY)


def retention(database: Database, store: redis.Redis, *, periods: Periods = PERIODS, now: datetime = NOON) -> Retention:
    return Retention(database, store, periods=periods, now=lambda: now)


def run(database: Database, store: redis.Redis, **options: object) -> dict[str, object]:
    return retention(database, store, **options).run(Run(pause_seconds=0.0))  # type: ignore[arg-type]


def deleted(kind: metrics.KeptKind) -> float:
    [family] = metrics.RETENTION_DELETED.collect()
    return next(sample.value for sample in family.samples if sample.labels == {"kind": kind.value})


def order(database: Database, subject: str, at: datetime, *, applied: bool = True) -> Tombstone:
    tombstones = Tombstones(database)
    made = tombstones.add(SubjectKind.CONVERSATION, subject, requested_at=at, requested_by="ana")
    if applied:
        tombstones.mark_applied(made, at)
    return made


def test_with_nothing_too_old_nothing_goes(database: Database, store: redis.Redis) -> None:
    keep(database, "young", at=NOON - DAY)
    order(database, "c", NOON - DAY)
    before = counts(database)
    assert run(database, store) == {
        "utterances": 0,
        "conversations": 0,
        "audit_entries": 0,
        "tombstones": 0,
        "complete": True,
    }
    assert counts(database) == before
    assert len(Tombstones(database).list_all()) == 1


def test_what_was_said_goes_at_its_exact_border_and_the_conversation_stays(
    database: Database, store: redis.Redis
) -> None:
    keep(database, "c", at=NOON - 30 * DAY - timedelta(seconds=2), said=5)  # the third is said exactly at the border
    before = deleted(metrics.KeptKind.UTTERANCE)
    assert run(database, store)["utterances"] == 2
    record = Conversations(database).get("c")
    assert record is not None
    assert [utterance.sequence for utterance in record.utterances] == [3, 4, 5]
    assert len(record.legs) == 1
    assert deleted(metrics.KeptKind.UTTERANCE) == before + 2


def test_a_conversation_goes_at_its_exact_border_with_all_that_hangs_on_it(
    database: Database, store: redis.Redis
) -> None:
    keep(database, "old", at=NOON - 365 * DAY - MOMENT)
    keep(database, "just", at=NOON - 365 * DAY)
    result = run(database, store)
    assert ids(database) == {"just"}
    assert result["conversations"] == 1
    assert counts(database) == {"conversations": 1, "legs": 1, "utterances": 0, "conversation_costs": 0}


def test_what_was_said_after_the_border_goes_with_its_conversation_and_is_counted_as_what_it_is(
    database: Database, store: redis.Redis
) -> None:
    keep(database, "c", at=NOON - 365 * DAY - timedelta(seconds=2), said=5)
    year = Periods(transcripts=365 * DAY, conversations=365 * DAY, audit=365 * DAY, tombstones=400 * DAY)
    before = deleted(metrics.KeptKind.UTTERANCE), deleted(metrics.KeptKind.CONVERSATION)
    result = run(database, store, periods=year)
    assert (result["utterances"], result["conversations"]) == (5, 1)
    assert (deleted(metrics.KeptKind.UTTERANCE), deleted(metrics.KeptKind.CONVERSATION)) == (
        before[0] + 5,
        before[1] + 1,
    )


def test_what_was_said_is_never_kept_longer_than_its_conversation(database: Database, store: redis.Redis) -> None:
    keep(database, "c", at=NOON - 10 * DAY)
    short = Periods(transcripts=30 * DAY, conversations=5 * DAY, audit=365 * DAY, tombstones=400 * DAY)
    result = run(database, store, periods=short)
    assert (result["utterances"], result["conversations"]) == (2, 1)
    assert counts(database)["legs"] == 0


def test_zero_days_of_transcripts_leave_no_word(database: Database, store: redis.Redis) -> None:
    keep(database, "c", at=NOON - timedelta(minutes=1))
    none = Periods(transcripts=0 * DAY, conversations=365 * DAY, audit=365 * DAY, tombstones=400 * DAY)
    run(database, store, periods=none)
    assert counts(database) == {"conversations": 1, "legs": 1, "utterances": 0, "conversation_costs": 0}


def test_far_more_than_a_batch_goes_in_one_run(database: Database, store: redis.Redis) -> None:
    for number in range(60):
        keep(database, f"c{number}", at=NOON - 400 * DAY, said=15)
    result = run(database, store)
    assert (result["utterances"], result["conversations"]) == (900, 60)
    assert sum(counts(database).values()) == 0


def test_a_run_without_time_says_that_there_is_more_and_the_next_one_goes_on(
    database: Database, store: redis.Redis
) -> None:
    keep(database, "c", at=NOON - 400 * DAY, said=500)
    result = retention(database, store).run(Run(pause_seconds=0.0, seconds=0.0))
    assert (result["utterances"], result["complete"]) == (0, False)
    assert run(database, store)["utterances"] == 500


def test_a_run_that_is_stopped_half_way_keeps_what_it_did_and_the_next_one_goes_on(
    database: Database, store: redis.Redis
) -> None:
    keep(database, "c", at=NOON - 400 * DAY, said=500)
    leaves = threading.Event()
    leaves.set()
    with pytest.raises(RunStoppedError):
        retention(database, store).run(Run(pause_seconds=0.0, leaves=leaves))
    assert counts(database)["utterances"] == 300  # one batch had gone before it asked
    assert run(database, store)["utterances"] == 300
    assert ids(database) == set()


def audit(database: Database) -> AuditLog:
    """An audit of entries that are 40, 35, 31 and 0 days old."""
    log = AuditLog(database)
    now = datetime.now(UTC)
    for days in (40, 35, 31, 0):
        log.append(actor="ana", action="key.revoke", subject=str(days))
        age(database, now - days * DAY)
    return log


def age(database: Database, at: datetime) -> None:
    """Give the newest entry another time, and the chain the hash that goes with it."""
    log = AuditLog(database)
    [newest] = log.search(AuditFilter(), limit=1).items
    aged = replace(newest, at=at)
    with database.writing() as session:
        if database.is_sqlite:
            session.execute(text("DROP TRIGGER IF EXISTS audit_entries_refuse_change"))
        else:
            session.execute(text("ALTER TABLE audit_entries DISABLE TRIGGER audit_entries_refuse_change"))
        session.execute(
            text("UPDATE audit_entries SET at = :at, hash = :hash WHERE sequence = :sequence"),
            {
                "at": at.replace(tzinfo=None).isoformat(" ", "microseconds") if database.is_sqlite else at,
                "hash": entry_hash(aged),
                "sequence": newest.sequence,
            },
        )


def test_audit_entries_go_at_their_border_and_the_chain_is_whole(database: Database, store: redis.Redis) -> None:
    log = audit(database)
    assert log.verify_chain().is_whole
    month = Periods(transcripts=30 * DAY, conversations=365 * DAY, audit=33 * DAY, tombstones=400 * DAY)
    result = run(database, store, periods=month, now=datetime.now(UTC))
    assert result["audit_entries"] == 2
    left = log.search(AuditFilter()).items
    assert [entry.subject for entry in left if entry.action == "key.revoke"] == ["0", "31"]
    assert [entry.actor for entry in left if entry.action == "audit.pruned"] == ["retention"]
    assert log.verify_chain().is_whole


def test_a_run_that_finds_nothing_to_prune_writes_nothing_into_the_audit(
    database: Database, store: redis.Redis
) -> None:
    log = audit(database)
    month = Periods(transcripts=30 * DAY, conversations=365 * DAY, audit=33 * DAY, tombstones=400 * DAY)
    for _ in range(3):
        run(database, store, periods=month, now=datetime.now(UTC))
    assert len(log.search(AuditFilter(action="audit.pruned")).items) == 1


def test_the_record_of_a_pruning_alone_is_no_reason_for_another(database: Database, store: redis.Redis) -> None:
    log = audit(database)
    month = Periods(transcripts=30 * DAY, conversations=365 * DAY, audit=33 * DAY, tombstones=400 * DAY)
    run(database, store, periods=month, now=datetime.now(UTC))
    age(database, datetime.now(UTC) - 39 * DAY)
    result = run(database, store, periods=month, now=datetime.now(UTC))
    assert result["audit_entries"] == 0
    assert log.verify_chain().entries == 3


def test_a_tombstone_goes_at_its_border_from_the_mirror_too(database: Database, store: redis.Redis) -> None:
    old, just = order(database, "old", NOON - 400 * DAY - MOMENT), order(database, "just", NOON - 400 * DAY)
    mirror = TombstoneMirror(store)
    mirror.put([old, just])
    before = deleted(metrics.KeptKind.TOMBSTONE)
    assert run(database, store)["tombstones"] == 1
    assert [each.hash for each in Tombstones(database).list_all()] == [just.hash]
    assert [each.hash for each in mirror.read()] == [just.hash]
    assert deleted(metrics.KeptKind.TOMBSTONE) == before + 1


def test_a_tombstone_stays_until_it_was_applied_and_the_provider_has_confirmed(
    database: Database, store: redis.Redis
) -> None:
    order(database, "open", NOON - 500 * DAY, applied=False)
    owed = order(database, "owed", NOON - 500 * DAY)
    deletions = ProviderDeletions(database)
    legs = [Leg("owed", number, "elevenlabs", NOON, provider_conversation_id=f"conv_{number}") for number in (1, 2)]
    deletions.add(owed, legs, next_attempt_at=NOON)
    assert run(database, store)["tombstones"] == 0
    first, second = deletions.of(owed)
    deletions.confirm(first, NOON)
    assert run(database, store)["tombstones"] == 0
    deletions.confirm(second, NOON)
    assert run(database, store)["tombstones"] == 1
    assert deletions.of(owed) == []
    assert len(Tombstones(database).list_all()) == 1


def test_a_tombstone_with_thousands_of_deletions_goes_in_batches(database: Database, store: redis.Redis) -> None:
    old = order(database, "user", NOON - 500 * DAY)
    deletions = ProviderDeletions(database)
    legs = [Leg("c", n, "elevenlabs", NOON, provider_conversation_id=f"conv_{n}") for n in range(450)]
    deletions.add(old, legs, next_attempt_at=NOON)
    with database.writing() as session:
        session.execute(text("UPDATE provider_deletions SET confirmed_at = next_attempt_at"))
    assert run(database, store)["tombstones"] == 1
    with database.reading() as session:
        assert session.scalar(text("SELECT count(*) FROM provider_deletions")) == 0


def test_without_redis_tombstones_go_from_the_database_all_the_same(database: Database, away: redis.Redis) -> None:
    order(database, "old", NOON - 500 * DAY)
    assert run(database, away)["tombstones"] == 1
    assert Tombstones(database).list_all() == []


def test_a_node_whose_clock_is_wrong_deletes_nothing_too_early(database: Database, store: redis.Redis) -> None:
    """The border comes from the database's clock: no other is asked."""
    keep(database, "c", at=datetime.now(UTC) - 29 * DAY)
    assert Retention(database, store, periods=PERIODS).run(Run(pause_seconds=0.0))["utterances"] == 0
    keep(database, "d", at=datetime.now(UTC) - 31 * DAY)
    assert Retention(database, store, periods=PERIODS).run(Run(pause_seconds=0.0))["utterances"] == 2
