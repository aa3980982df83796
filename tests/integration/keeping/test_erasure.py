"""A conversation or a user that was erased: what goes, what comes late, and what stays gone."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
import redis
from sqlalchemy import text

from service.keeping.erasure import LEARNED, REQUESTED, SETTLE_SECONDS, Erased, Erasure
from service.keeping.run import Run, RunStoppedError
from service.keeping.tombstone_mirror import TombstoneMirror
from service.storage import (
    AuditFilter,
    AuditLog,
    Conversations,
    ConversationSummary,
    Database,
    EndedBy,
    Leg,
    ProviderDeletions,
    SubjectKind,
    Tombstones,
)
from service.storage.erasure_scope import CALL_TIME
from service.storage.record_writer import RecordWriter
from service.storage.tombstone_upkeep import TombstoneUpkeep
from tests.integration.keeping.kept import counts, ids, keep, utterances

CONVERSATION, USER = SubjectKind.CONVERSATION, SubjectKind.USER
HOUR = timedelta(hours=1)
QUICK = Run(pause_seconds=0.0)


@pytest.fixture
def now(database: Database) -> datetime:
    return TombstoneUpkeep(database).now()


@pytest.fixture
def erasure(database: Database, store: redis.Redis) -> Erasure:
    """Erasing, without the time that a PostgreSQL with many writers needs to settle."""
    return Erasure(database, store, settle_seconds=0.0)


def erase(erasure: Erasure, kind: SubjectKind, subject: str) -> Erased:
    order = erasure.request(kind, subject, by="ana")
    return erasure.carry_out(order, subject, QUICK)


def owed(database: Database) -> set[str]:
    """The ids under which ElevenLabs has to delete something."""
    with database.reading() as session:
        return set(session.scalars(text("SELECT provider_conversation_id FROM provider_deletions")))


# --- A conversation ------------------------------------------------------------------------------------------------


def test_a_conversation_goes_with_all_that_hangs_on_it_and_no_other(
    database: Database, erasure: Erasure, store: redis.Redis, now: datetime
) -> None:
    keep(database, "c1", at=now - HOUR, said=450, theirs="conv_1")
    keep(database, "c2", at=now - HOUR)
    assert erase(erasure, CONVERSATION, "c1") == Erased(conversations=1, keys=0, orders=1)
    assert ids(database) == {"c2"}
    assert counts(database) == {"conversations": 1, "legs": 1, "utterances": 2, "conversation_costs": 0}
    assert owed(database) == {"conv_1"}
    order = Tombstones(database).get(CONVERSATION, "c1")
    assert order is not None
    assert order.applied_at is not None
    assert TombstoneMirror(store).newest() is not None


def test_the_order_is_audited_by_its_digest(database: Database, erasure: Erasure) -> None:
    order = erasure.request(USER, "ana@example.com", by="ben")
    [entry] = AuditLog(database).search(AuditFilter(action=REQUESTED)).items
    assert (entry.actor, entry.subject, entry.after) == ("ben", order.hash, '{"kind": "user"}')
    assert AuditLog(database).verify_chain().is_whole


def test_what_its_writer_flushes_late_stays_erased(database: Database, erasure: Erasure, now: datetime) -> None:
    keep(database, "c1", at=now - timedelta(seconds=30), ends=False)
    erase(erasure, CONVERSATION, "c1")
    writer = RecordWriter(Conversations(database))
    summary = ConversationSummary(id="c1", agent_id="agent_demo", started_at=now - timedelta(seconds=30))
    leg = Leg("c1", 1, "elevenlabs", now, provider_conversation_id="c1")
    written = writer.write([summary, leg, *utterances("c1", at=now, count=5)])
    assert written.left == 0
    assert sum(counts(database).values()) == 0


def test_a_conversation_that_goes_on_is_asked_for_at_the_provider_only_when_it_may_be_over(
    database: Database, erasure: Erasure, now: datetime
) -> None:
    keep(database, "going on", at=now - timedelta(seconds=30), ends=False)
    keep(database, "over", at=now - timedelta(seconds=30))
    keep(database, "left behind", at=now - 5 * HOUR, ends=False)
    for name in ("going on", "over", "left behind"):
        erase(erasure, CONVERSATION, name)
    soon = now + timedelta(minutes=1)
    due = {each.provider_conversation_id for each in ProviderDeletions(database).due(soon)}
    assert due == {"over", "left behind"}
    later = ProviderDeletions(database).due(now + CALL_TIME + timedelta(minutes=1))
    assert {each.provider_conversation_id for each in later} == {"over", "left behind", "going on"}


def test_one_that_we_do_not_know_is_asked_for_at_the_provider(database: Database, erasure: Erasure) -> None:
    assert erase(erasure, CONVERSATION, "conv_unknown") == Erased(0, 0, 1)
    assert owed(database) == {"conv_unknown"}


def test_one_whose_leg_is_not_written_yet_is_asked_for_under_its_own_id(
    database: Database, erasure: Erasure, now: datetime
) -> None:
    keep(database, "conv_9", at=now - HOUR, with_leg=False)
    erase(erasure, CONVERSATION, "conv_9")
    assert owed(database) == {"conv_9"}


def test_what_began_before_and_comes_after_the_order_is_asked_for_at_the_provider(
    database: Database, erasure: Erasure, now: datetime
) -> None:
    """The writer is told that it is erased (`start` is false), and tells us."""
    erase(erasure, USER, "ana")
    summary = ConversationSummary("conv_late", "agent_demo", now - timedelta(seconds=1), user_id="ana")
    assert not Conversations(database).start(
        "conv_late", agent_id="agent_demo", started_at=summary.started_at, user_id="ana"
    )
    erasure.forget_late(summary)
    deletions = ProviderDeletions(database)
    assert deletions.due(now + timedelta(minutes=1)) == []
    [deletion] = deletions.due(now + CALL_TIME + timedelta(minutes=1))
    deletions.confirm(deletion, now + timedelta(minutes=2))
    over = ConversationSummary(
        "conv_late", "agent_demo", summary.started_at, user_id="ana", ended_at=now, ended_by=EndedBy.CLIENT
    )
    erasure.forget_late(over)  # what was deleted while it went on may be there again
    [again] = deletions.due(now + timedelta(minutes=1))
    assert again.provider_conversation_id == "conv_late"


def test_what_nobody_erased_is_not_asked_for(database: Database, erasure: Erasure, now: datetime) -> None:
    erase(erasure, USER, "ana")
    erasure.forget_late(ConversationSummary("c1", "agent_demo", now - HOUR, user_id="ben"))
    erasure.forget_late(ConversationSummary("c2", "agent_demo", now + HOUR, user_id="ana"))
    assert owed(database) == set()


# --- A user --------------------------------------------------------------------------------------------------------


def test_a_user_goes_with_every_conversation_until_then(database: Database, erasure: Erasure, now: datetime) -> None:
    for number in range(205):
        keep(database, f"ana{number}", at=now - HOUR, user_id="ana", said=1)
    keep(database, "ben", at=now - HOUR, user_id="ben")
    keep(database, "nobody", at=now - HOUR)
    assert erase(erasure, USER, "ana").conversations == 205
    assert ids(database) == {"ben", "nobody"}
    assert len(owed(database)) == 205


def test_one_that_goes_on_and_ends_later_does_not_come_back(
    database: Database, erasure: Erasure, now: datetime
) -> None:
    conversations = Conversations(database)
    keep(database, "c1", at=now - timedelta(seconds=20), user_id="ana", ends=False)
    erase(erasure, USER, "ana")
    started_at = now - timedelta(seconds=20)
    assert not conversations.start("c1", agent_id="agent_demo", started_at=started_at, user_id="ana")
    assert conversations.append(utterances("c1", at=now, count=3)) == 0
    assert ids(database) == set()


def test_a_user_who_comes_back_is_kept_also_when_the_order_is_applied_again(
    database: Database, erasure: Erasure, store: redis.Redis, now: datetime
) -> None:
    keep(database, "before", at=now - HOUR, user_id="ana")
    erase(erasure, USER, "ana")
    keep(database, "after", at=now + HOUR, user_id="ana")
    Tombstones(database).forget_applications()
    erasure.carry_out_all(QUICK)
    assert ids(database) == {"after"}
    assert store.zcard("vocero:tombstones") == 2  # the user, and the conversation


@pytest.mark.parametrize("user", ["u" * 5000, "a%b_c*[d]", "ünïcode 👋", "../../etc", "' OR 1=1 --", "\ud800"])
def test_any_id_is_only_an_id(database: Database, erasure: Erasure, now: datetime, user: str) -> None:
    keep(database, "theirs", at=now - HOUR, user_id=user)
    keep(database, "other", at=now - HOUR, user_id="other")
    assert erase(erasure, USER, user).conversations == 1
    assert ids(database) == {"other"}


# --- Orders without their subjects (the job, a restore) --------------------------------------------------------------


def test_an_order_is_carried_out_by_its_digest_alone(database: Database, erasure: Erasure, now: datetime) -> None:
    for number in range(410):
        keep(database, f"c{number:03}", at=now - HOUR, user_id="ana" if number % 100 == 0 else "ben", said=0)
    erasure.request(USER, "ana", by="ana")
    erasure.request(CONVERSATION, "c007", by="ana")
    assert erasure.carry_out_all(QUICK) == Erased(conversations=6, keys=0, orders=7)
    assert len(ids(database)) == 404
    assert erasure.carry_out_all(QUICK) == Erased(0, 0, 0)


def test_an_order_that_was_given_again_meanwhile_is_not_at_its_end(database: Database, erasure: Erasure) -> None:
    first, second = (erasure.request(USER, "ana", by="ana") for _ in range(2))
    upkeep = TombstoneUpkeep(database)
    assert upkeep.mark_applied([first], first.requested_at) == 0
    assert upkeep.mark_applied([first, second], second.requested_at) == 1
    assert Tombstones(database).unapplied() == []


def test_a_writer_that_looked_just_before_the_order_cannot_slip_through(
    database: Database, store: redis.Redis, now: datetime
) -> None:
    """PostgreSQL: its transaction may commit after what the order covers was looked for, so it is looked for again."""
    careful = Erasure(database, store)
    erased = erase(careful, USER, "ana")
    order = Tombstones(database).get(USER, "ana")
    assert order is not None
    if database.is_sqlite:  # one writer at a time: there is no such transaction
        assert (erased.orders, order.applied_at is not None) == (1, True)
        return
    assert (erased.orders, order.applied_at) == (0, None)
    with database.writing() as session:  # the one that looked before
        session.execute(text("DELETE FROM erasure_tombstones"))
    keep(database, "slipped", at=now - timedelta(seconds=1), user_id="ana")
    Tombstones(database).add(USER, "ana", requested_at=now, requested_by="ana")
    assert careful.carry_out_all(QUICK) == Erased(1, 0, 0)
    with database.writing() as session:
        session.execute(text(f"UPDATE erasure_tombstones SET requested_at = now() - INTERVAL '{SETTLE_SECONDS} s'"))
    assert careful.carry_out_all(QUICK) == Erased(0, 0, 2)


# --- Redis ---------------------------------------------------------------------------------------------------------


def test_the_keys_of_the_conversation_go_and_no_others(
    database: Database, erasure: Erasure, store: redis.Redis, now: datetime
) -> None:
    keep(database, "c1", at=now - HOUR)
    gone = ["vocero:conversation:c1", "vocero:conversation:c1:events", "vocero:conversation:{c1}:lease"]
    stay = [
        "vocero:conversation:c10:events",
        "vocero:conversation:c",
        "vocero:conversation:other:c1",
        "vocero:ticket:c1",
        "celery:c1",
        "c1",
    ]
    for key in gone + stay:
        store.set(key, "1")
    assert erase(erasure, CONVERSATION, "c1").keys == 3
    assert {key.decode() for key in store.scan_iter()} == {*stay, "vocero:tombstones"}


def test_the_keys_of_a_users_conversations_go_and_those_of_orders_known_by_digest(
    database: Database, erasure: Erasure, store: redis.Redis, now: datetime
) -> None:
    for number in range(3):
        keep(database, f"ana{number}", at=now - HOUR, user_id="ana")
        store.xadd(f"vocero:conversation:{{ana{number}}}:events", {"said": "something"})
    store.set("vocero:conversation:only here", "1")
    store.set("vocero:conversation:ben", "1")
    erasure.request(USER, "ana", by="ana")
    erasure.request(CONVERSATION, "only here", by="ana")
    assert erasure.carry_out_all(QUICK).keys == 4
    assert list(store.scan_iter("vocero:conversation:*")) == [b"vocero:conversation:ben"]


def test_without_redis_a_users_conversations_are_remembered_until_their_keys_are_gone(
    database: Database, away: redis.Redis, store: redis.Redis, now: datetime
) -> None:
    for number in range(3):
        keep(database, f"ana{number}", at=now - HOUR, user_id="ana")
        store.set(f"vocero:conversation:ana{number}:events", "1")
    assert erase(Erasure(database, away, settle_seconds=0.0), USER, "ana") == Erased(3, None, 0)
    assert ids(database) == set()
    assert Erasure(database, store, settle_seconds=0.0).carry_out_all(QUICK) == Erased(0, 3, 4)
    assert list(store.scan_iter("vocero:conversation:*")) == []


def test_a_run_that_is_broken_off_behind_the_rows_still_finds_the_keys(
    database: Database, store: redis.Redis, now: datetime
) -> None:
    keep(database, "c1", at=now - HOUR, user_id="ana")
    store.set("vocero:conversation:c1:events", "1")
    erasure = Erasure(database, store, settle_seconds=0.0)
    order = erasure.request(USER, "ana", by="ana")
    leaves = threading.Event()
    leaves.set()
    with pytest.raises(RunStoppedError):
        erasure.carry_out(order, "ana", Run(leaves=leaves))
    assert ids(database) == set()
    assert store.exists("vocero:conversation:c1:events")
    assert erasure.carry_out_all(QUICK) == Erased(0, 1, 2)


def test_what_comes_late_without_its_user_is_recognised(database: Database, erasure: Erasure, now: datetime) -> None:
    keep(database, "c1", at=now - HOUR, user_id="ana")
    erase(erasure, USER, "ana")
    assert not Conversations(database).start("c1", agent_id="agent_demo", started_at=now - HOUR)


def test_without_redis_the_database_forgets_and_the_order_stays_open(
    database: Database, away: redis.Redis, store: redis.Redis, now: datetime
) -> None:
    keep(database, "c1", at=now - HOUR)
    store.set("vocero:conversation:c1", "1")
    assert erase(Erasure(database, away, settle_seconds=0.0), CONVERSATION, "c1") == Erased(1, None, 0)
    assert ids(database) == set()
    assert len(Tombstones(database).unapplied()) == 1
    again = Erasure(database, store, settle_seconds=0.0)  # the job, when Redis answers again
    assert again.learn(400 * timedelta(days=1)) == 0
    assert again.carry_out_all(QUICK) == Erased(0, 1, 1)
    assert TombstoneMirror(store).count(now - HOUR) == 1
    assert AuditLog(database).search(AuditFilter(action=LEARNED)).items == ()
