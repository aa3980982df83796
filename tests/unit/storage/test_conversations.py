"""Conversations: written down in any order and as often as it takes, read whole, forgotten whole."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service.storage import (
    Conversations,
    ConversationSummary,
    Database,
    EndedBy,
    Leg,
    Speaker,
    SubjectKind,
    Tombstones,
    Utterance,
    open_database,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def said(sequence: int, words: str = "Good morning.", conversation_id: str = "c1", **more: object) -> Utterance:
    values = {
        "conversation_id": conversation_id,
        "sequence": sequence,
        "speaker": Speaker.AGENT,
        "text": words,
        "at": NOON + timedelta(seconds=sequence),
        "provider": "elevenlabs",
        **more,
    }
    return Utterance(**values)  # type: ignore[arg-type]  # a test's shorthand


def started(database: Database, conversation_id: str = "c1", **more: object) -> Conversations:
    conversations = Conversations(database)
    values = {"agent_id": "agent_1", "started_at": NOON, **more}
    assert conversations.start(conversation_id, **values)  # type: ignore[arg-type]  # a test's shorthand
    return conversations


def texts(conversations: Conversations, conversation_id: str = "c1") -> list[str]:
    record = conversations.get(conversation_id)
    assert record is not None
    return [utterance.text for utterance in record.utterances]


def rows(database: Database, table: str) -> int:
    with database.reading() as session:
        return int(session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_what_was_written_is_read_back(database: Database) -> None:
    conversations = started(database, user_id="user_1", language="es", opening_seconds=0.25)
    first = Leg("c1", 1, "elevenlabs", NOON, provider_conversation_id="conv_1")
    second = Leg("c1", 2, "local", NOON + timedelta(seconds=9))
    assert conversations.put_leg(second)
    assert conversations.put_leg(first)
    question = said(2, "¿Qué hora es? 🕛", speaker=Speaker.USER)
    assert conversations.append([question, said(1)]) == 2
    assert conversations.end(
        "c1", ended_at=NOON + timedelta(seconds=30), ended_by=EndedBy.CLIENT, code=1000, reason="bye"
    )
    record = conversations.get("c1")
    assert record is not None
    assert record.summary == ConversationSummary(
        id="c1",
        agent_id="agent_1",
        started_at=NOON,
        user_id="user_1",
        language="es",
        ended_at=NOON + timedelta(seconds=30),
        ended_by=EndedBy.CLIENT,
        end_code=1000,
        end_reason="bye",
        opening_seconds=0.25,
    )
    assert record.legs == (first, second)
    assert record.utterances == (said(1), question)
    assert record.cost is None


def test_a_conversation_that_nobody_held_is_none(database: Database) -> None:
    assert Conversations(database).get("c1") is None


def test_what_is_written_twice_is_there_once(database: Database) -> None:
    conversations = started(database)
    started(database)
    for _ in range(2):
        conversations.put_leg(Leg("c1", 1, "elevenlabs", NOON))
        conversations.append([said(1), said(2)])
    assert (rows(database, "conversations"), rows(database, "legs"), rows(database, "utterances")) == (1, 1, 2)


def test_what_is_known_later_fills_in_and_what_is_not_known_takes_nothing_away(database: Database) -> None:
    conversations = started(database, user_id="user_1", opening_seconds=0.25)
    started(database, language="es", first_audio_seconds=0.75)
    conversations.put_leg(Leg("c1", 1, "elevenlabs", NOON, provider_conversation_id="conv_1", end_cause="timeout"))
    conversations.put_leg(Leg("c1", 1, "elevenlabs", NOON))
    record = conversations.get("c1")
    assert record is not None
    kept = record.summary
    assert (kept.user_id, kept.opening_seconds) == ("user_1", 0.25)
    assert (kept.language, kept.first_audio_seconds) == ("es", 0.75)
    assert (record.legs[0].provider_conversation_id, record.legs[0].end_cause) == ("conv_1", "timeout")


def test_the_first_ending_stands(database: Database) -> None:
    conversations = started(database)
    conversations.end("c1", ended_at=NOON, ended_by=EndedBy.AGENT, code=1011, reason="first")
    assert conversations.end("c1", ended_at=NOON, ended_by=EndedBy.SERVICE, code=1012, reason="second")
    record = conversations.get("c1")
    assert record is not None
    assert (record.summary.ended_by, record.summary.end_code, record.summary.end_reason) == ("agent", 1011, "first")


def test_an_interruption_and_a_correction_change_the_words(database: Database) -> None:
    conversations = started(database)
    conversations.append([said(1, "Good morning, how are you?")])
    conversations.append([said(1, "Good morning,", interrupted=True)])
    assert texts(conversations) == ["Good morning,"]
    conversations.append([said(1, "Good mor", interrupted=True, corrected_at=NOON)])
    assert texts(conversations) == ["Good mor"]
    record = conversations.get("c1")
    assert record is not None
    assert record.utterances[0].interrupted
    assert record.utterances[0].corrected_at == NOON


def test_an_older_version_that_comes_again_does_not_undo_a_newer_one(database: Database) -> None:
    conversations = started(database)
    original = said(1, "Good morning, how are you?")
    interrupted = said(1, "Good morning,", interrupted=True)
    first = said(1, "Good mor", interrupted=True, corrected_at=NOON)
    second = said(1, "Good", interrupted=True, corrected_at=NOON + timedelta(seconds=1))
    history = [original, interrupted, first, second]
    for until in range(1, len(history) + 1):
        conversations.append(history[:until])
        newest = texts(conversations)
        conversations.append(history[:until])
        assert texts(conversations) == newest == [history[until - 1].text]
    conversations.append([first])
    conversations.append([original])
    assert texts(conversations) == ["Good"]


def test_whatever_order_the_versions_come_in_the_newest_stands(database: Database) -> None:
    conversations = Conversations(database)
    history = [
        said(1, "Good morning, how are you?"),
        said(1, "Good morning,", interrupted=True),
        said(1, "Good mor", interrupted=True, corrected_at=NOON),
        said(1, "Good", corrected_at=NOON + timedelta(seconds=1)),
    ]
    for number, order in enumerate(itertools.permutations(history)):
        name = f"c{number}"
        started(database, name)
        conversations.append(replace(version, conversation_id=name) for version in order)
        record = conversations.get(name)
        assert record is not None
        [kept] = record.utterances
        assert (kept.text, kept.interrupted, kept.corrected_at) == ("Good", True, NOON + timedelta(seconds=1))


def test_an_interruption_that_comes_after_its_correction_keeps_the_correction(database: Database) -> None:
    conversations = started(database)
    conversations.append([said(1, "Good mor", corrected_at=NOON)])
    conversations.append([said(1, "Good morning,", interrupted=True)])
    record = conversations.get("c1")
    assert record is not None
    assert (record.utterances[0].text, record.utterances[0].interrupted) == ("Good mor", True)
    assert record.utterances[0].corrected_at == NOON


def test_more_utterances_than_a_transaction_takes_are_all_kept_in_order(database: Database) -> None:
    conversations = started(database)
    assert conversations.append(said(number, str(number)) for number in range(450)) == 450
    assert texts(conversations) == [str(number) for number in range(450)]


def test_utterances_of_no_conversation_are_not_kept_and_do_not_hold_up_the_others(database: Database) -> None:
    conversations = started(database)
    assert conversations.append([said(1), said(1, conversation_id="unknown"), said(2)]) == 2
    assert rows(database, "utterances") == 2
    assert not conversations.put_leg(Leg("unknown", 1, "local", NOON))
    assert not conversations.end("unknown", ended_at=NOON, ended_by=EndedBy.CLIENT, code=None, reason=None)


def test_text_that_no_database_holds_is_kept_as_well_as_it_goes(database: Database) -> None:
    conversations = started(database, user_id="\0" * 3, language="\ud800" * 100)
    conversations.append([said(1, "before\0between\ud83dafter"), said(2, "\ud83d\ude00"), said(3, "x" * 1_000_000)])
    conversations.end("c1", ended_at=NOON, ended_by=EndedBy.AGENT, code=1011, reason="é" * 1000)
    assert texts(conversations)[:2] == ["before\ufffdbetween\ufffdafter", "😀"]
    assert texts(conversations)[2] == "x" * 1_000_000
    record = conversations.get("c1")
    assert record is not None
    assert record.summary.user_id == "\ufffd" * 3
    assert record.summary.language == "\ufffd" * 35
    assert record.summary.end_reason == "é" * 200


def test_names_that_are_too_long_stay_different_ones(database: Database) -> None:
    started(database, "c1", user_id="u" * 5000 + "1", agent_id="a" * 200)
    conversations = started(database, "c2", user_id="u" * 5000 + "2", agent_id="a" * 200)
    first, second = conversations.get("c1"), conversations.get("c2")
    assert first is not None
    assert second is not None
    assert first.summary.user_id != second.summary.user_id
    assert first.summary.agent_id == second.summary.agent_id


def test_the_database_itself_refuses_a_speaker_that_there_is_not(database: Database) -> None:
    started(database).append([said(1)])
    with pytest.raises(IntegrityError), database.writing() as session:
        session.execute(text("UPDATE utterances SET speaker = 'nobody'"))


def test_erasing_leaves_nothing_of_it_and_everything_of_others(database: Database) -> None:
    conversations = started(database, "c1")
    started(database, "c2")
    for conversation_id in ("c1", "c2"):
        conversations.put_leg(Leg(conversation_id, 1, "elevenlabs", NOON))
        conversations.append(said(number, conversation_id=conversation_id) for number in range(450))
    assert conversations.erase("c1")
    assert not conversations.erase("c1")
    assert conversations.get("c1") is None
    assert (rows(database, "conversations"), rows(database, "legs"), rows(database, "utterances")) == (1, 1, 450)


def test_what_was_erased_does_not_come_back_with_a_late_writer(database: Database) -> None:
    conversations = started(database, "c1")
    Tombstones(database).add(SubjectKind.CONVERSATION, "c1", requested_at=NOON, requested_by="ana")
    conversations.erase("c1")
    assert not conversations.start("c1", agent_id="agent_1", started_at=NOON)
    assert conversations.append([said(1)]) == 0
    assert conversations.get("c1") is None


def test_an_erased_user_may_talk_again_but_what_was_before_stays_erased(database: Database) -> None:
    Tombstones(database).add(SubjectKind.USER, "user_1", requested_at=NOON, requested_by="ana")
    conversations = Conversations(database)
    before, after = NOON - timedelta(seconds=1), NOON + timedelta(seconds=1)
    assert not conversations.start("c1", agent_id="agent_1", user_id="user_1", started_at=before)
    assert conversations.start("c2", agent_id="agent_1", user_id="user_1", started_at=after)
    assert conversations.start("c3", agent_id="agent_1", user_id="user_2", started_at=before)


def test_utterances_go_by_their_age_a_bounded_number_at_a_time(database: Database) -> None:
    conversations = started(database)
    conversations.append(said(number) for number in range(500))
    counts = []
    while deleted := conversations.prune_utterances(NOON + timedelta(seconds=450)):
        counts.append(deleted)
    assert counts == [200, 200, 50]
    assert rows(database, "utterances") == 50
    assert rows(database, "conversations") == 1


def test_old_conversations_go_with_all_that_hangs_on_them_a_bounded_number_of_rows_at_a_time(
    database: Database,
) -> None:
    for number in range(60):
        conversations = started(database, f"old{number}", started_at=NOON - timedelta(days=40))
        conversations.put_leg(Leg(f"old{number}", 1, "elevenlabs", NOON))
    conversations.append(said(number, conversation_id="old7") for number in range(300))
    started(database, "new").append([said(1, conversation_id="new")])
    counts = []
    while any(pruned := conversations.prune(NOON - timedelta(days=30))):
        counts.append(pruned)
    assert (sum(pruned.conversations for pruned in counts), sum(pruned.utterances for pruned in counts)) == (60, 300)
    assert max(sum(pruned) for pruned in counts) <= 200
    assert (rows(database, "conversations"), rows(database, "legs"), rows(database, "utterances")) == (1, 0, 1)


def test_every_conversation_can_be_walked_through_with_its_user(database: Database) -> None:
    for number in range(5):
        conversations = started(database, f"c{number}", user_id=f"user_{number % 2}" if number else None)
    walked, after = [], ""
    while found := conversations.subjects(after=after, limit=2):
        walked += found
        after = found[-1][0]
    assert walked == [("c0", None), ("c1", "user_1"), ("c2", "user_0"), ("c3", "user_1"), ("c4", "user_0")]


def test_writers_of_one_conversation_do_not_lose_each_others_words(migrated_url: str) -> None:
    database = open_database(migrated_url, busy_seconds=20)
    conversations = started(database)

    def write(worker: int) -> None:
        for number in range(20):
            conversations.append([said(number * 4 + worker), said(number, "everybody's")])

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    record = conversations.get("c1")
    database.close()
    assert record is not None
    assert [utterance.sequence for utterance in record.utterances] == list(range(80))
