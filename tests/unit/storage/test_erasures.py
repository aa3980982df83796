"""What was erased stays so: orders, and deletions that providers owe."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from scripts.launcher.waiting import wait_until
from service.storage import (
    Conversations,
    Database,
    Leg,
    ProviderDeletion,
    ProviderDeletions,
    SubjectKind,
    Tombstone,
    Tombstones,
    open_database,
    subject_hash,
)
from service.storage.conversation_models import ConversationRow
from service.storage.erasures import is_erased

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def ordered(database: Database, subject: str = "c1", at: datetime = NOON) -> Tombstone:
    return Tombstones(database).add(SubjectKind.CONVERSATION, subject, requested_at=at, requested_by="ana")


def leg(number: int = 1, theirs: str | None = "conv_1") -> Leg:
    return Leg("c1", number, "elevenlabs", NOON, provider_conversation_id=theirs)


def owed(database: Database, number: int = 1) -> tuple[ProviderDeletions, list[ProviderDeletion]]:
    deletions = ProviderDeletions(database)
    legs = [leg(n, f"conv_{n}") for n in range(1, number + 1)]
    assert deletions.add(ordered(database), legs, next_attempt_at=NOON) == number
    return deletions, deletions.due(NOON)


def test_an_order_is_kept_without_what_it_is_about(database: Database) -> None:
    made = Tombstones(database).add(SubjectKind.USER, "ana@example.com", requested_at=NOON, requested_by="ben")
    assert made == Tombstone(
        SubjectKind.USER, subject_hash(SubjectKind.USER, "ana@example.com"), NOON, "ben", applied_at=None
    )
    with database.reading() as session:
        assert "ana@example.com" not in str(session.execute(text("SELECT * FROM erasure_tombstones")).all())
    assert Tombstones(database).get(SubjectKind.USER, "ana@example.com") == made
    assert Tombstones(database).get(SubjectKind.CONVERSATION, "ana@example.com") is None


def test_a_conversation_and_a_user_of_one_name_are_two_subjects() -> None:
    assert subject_hash(SubjectKind.USER, "x") != subject_hash(SubjectKind.CONVERSATION, "x")


@pytest.mark.parametrize("user", ["u" * 5000, "\0", "\ud800", "é", "sha256:x"])
def test_what_a_restore_brings_back_is_recognised_by_what_was_kept_of_it(database: Database, user: str) -> None:
    conversations = Conversations(database)
    conversations.start("c1", agent_id="a", user_id=user, started_at=NOON)
    [(_, kept)] = conversations.subjects()
    assert kept is not None
    assert subject_hash(SubjectKind.USER, kept) == subject_hash(SubjectKind.USER, user)


def test_an_order_told_twice_is_one_and_stays_applied(database: Database) -> None:
    tombstones = Tombstones(database)
    assert tombstones.mark_applied(ordered(database), LATER)
    assert ordered(database).applied_at == LATER
    assert ordered(database, at=NOON - timedelta(hours=1)).requested_at == NOON
    assert len(tombstones.list_all()) == 1
    assert tombstones.unapplied() == []


def test_a_later_order_has_to_be_carried_out_again(database: Database) -> None:
    tombstones = Tombstones(database)
    first = ordered(database)
    tombstones.mark_applied(first, NOON)
    second = ordered(database, at=LATER)
    assert (second.requested_at, second.applied_at) == (LATER, None)
    assert tombstones.unapplied() == [second]
    assert not tombstones.mark_applied(first, LATER), "the older order is not this one"
    assert tombstones.mark_applied(second, LATER)


def test_after_a_restore_every_order_is_to_be_carried_out_again(database: Database) -> None:
    tombstones = Tombstones(database)
    for number in range(3):
        tombstones.mark_applied(ordered(database, f"c{number}", at=NOON + timedelta(seconds=number)), LATER)
    assert tombstones.forget_applications() == 3
    assert [tombstone.hash for tombstone in tombstones.unapplied()] == [
        subject_hash(SubjectKind.CONVERSATION, f"c{number}") for number in range(3)
    ]


def test_an_order_and_what_hangs_on_it_come_together_or_not_at_all(database: Database) -> None:
    tombstones, deletions = Tombstones(database), ProviderDeletions(database)
    with pytest.raises(RuntimeError, match="on purpose"), database.writing() as session:
        order = tombstones.add(SubjectKind.USER, "u", requested_at=NOON, requested_by="ana", within=session)
        deletions.add(order, [leg()], next_attempt_at=NOON, within=session)
        raise RuntimeError("on purpose")
    assert tombstones.list_all() == []
    assert deletions.due(LATER) == []


@pytest.mark.parametrize(("kind", "subject"), [(SubjectKind.CONVERSATION, "c1"), (SubjectKind.USER, "user_1")])
def test_an_order_waits_for_whoever_writes_the_subject_at_that_moment(
    migrated_url: str, kind: SubjectKind, subject: str
) -> None:
    """Else what is written just then would be seen neither by the writer's look nor by whoever erases."""
    database = open_database(migrated_url, busy_seconds=20, lock_seconds=20, statement_seconds=20)
    order = threading.Thread(
        target=Tombstones(database).add,
        args=(kind, subject),
        kwargs={"requested_at": LATER, "requested_by": "ana"},
    )
    with database.writing() as session:
        assert not is_erased(session, "c1", "user_1", NOON)
        order.start()
        if not database.is_sqlite:
            wait_until(lambda: somebody_waits(database), 20.0, "the order to wait")
        session.add(ConversationRow(id="c1", agent_id="a", user_id="user_1", started_at=NOON))
        session.flush()
        assert Tombstones(database).list_all() == []
    order.join(30)
    assert len(Tombstones(database).list_all()) == 1
    with database.writing() as session:
        assert is_erased(session, "c1", "user_1", NOON)
    database.close()


def somebody_waits(database: Database) -> bool:
    with database.reading() as session:
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
        return bool(session.execute(text(waiting)).all())


def test_only_legs_that_the_provider_knows_are_owed_and_each_once(database: Database) -> None:
    deletions = ProviderDeletions(database)
    order = ordered(database)
    assert deletions.add(order, [leg(1, "conv_1"), leg(2, None), leg(3, "conv_1")], next_attempt_at=NOON) == 1
    assert deletions.add(order, [leg(1, "conv_1")], next_attempt_at=LATER) == 0
    [deletion] = deletions.of(order)
    assert (deletion.provider, deletion.provider_conversation_id) == ("elevenlabs", "conv_1")
    assert (deletion.attempts, deletion.next_attempt_at) == (0, NOON)


def test_a_deletion_is_due_until_it_is_confirmed(database: Database) -> None:
    deletions, [first, second, third] = owed(database, 3)
    deletions.note_attempt(first, error="503", next_attempt_at=LATER)
    deletions.confirm(second, NOON)
    assert deletions.due(NOON) == [third]
    assert deletions.due(NOON - timedelta(seconds=1)) == []
    again = deletions.due(LATER)
    assert {deletion.provider_conversation_id for deletion in again} == {"conv_1", "conv_3"}
    failed = next(deletion for deletion in again if deletion.provider_conversation_id == "conv_1")
    assert (failed.attempts, failed.last_error) == (1, "503")
    assert len(deletions.due(LATER, limit=1)) == 1


def test_an_attempt_told_twice_counts_once(database: Database) -> None:
    deletions, [deletion] = owed(database)
    for _ in range(2):
        deletions.note_attempt(deletion, error="e" * 1000, next_attempt_at=LATER)
    [again] = deletions.due(LATER)
    assert (again.attempts, again.last_error) == (1, "e" * 300)


def test_the_first_confirmation_stands(database: Database) -> None:
    deletions, [deletion] = owed(database)
    deletions.confirm(deletion, NOON)
    deletions.confirm(deletion, LATER)
    deletions.note_attempt(deletion, error="late", next_attempt_at=LATER)
    [kept] = deletions.of(ordered(database))
    assert (kept.confirmed_at, kept.attempts) == (NOON, 0)


def test_an_order_cannot_go_while_a_provider_owes_a_deletion(database: Database) -> None:
    owed(database)
    with pytest.raises(IntegrityError), database.writing() as session:
        session.execute(text("DELETE FROM erasure_tombstones"))
