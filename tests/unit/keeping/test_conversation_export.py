"""A conversation as a document: everything in the JSON, nothing dangerous in the transcript."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from service.storage import (
    ConversationCost,
    ConversationRecord,
    ConversationSummary,
    EndedBy,
    JudgedAnswer,
    Leg,
    Speaker,
    Utterance,
)
from service.storage.conversation_export import as_document, as_text, duration, readable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


RECORD = ConversationRecord(
    summary=ConversationSummary(
        id="conv_1",
        agent_id="agent_demo",
        started_at=NOON,
        user_id="ana",
        language="es",
        ended_at=at(3725.5),
        ended_by=EndedBy.AGENT,
        end_code=1000,
        end_reason="Agent ended the conversation",
        opening_seconds=0.25,
        first_audio_seconds=0.75,
    ),
    legs=(
        Leg("conv_1", 1, "elevenlabs", at(0.1), "conv_el", at(60), "agent 1011"),
        Leg("conv_1", 2, "local", at(61)),
    ),
    utterances=(
        Utterance("conv_1", 1, Speaker.AGENT, "Hello, how can I help?", at(1), "elevenlabs"),
        Utterance("conv_1", 2, Speaker.USER, "¿Qué hora\nes? 👋", at(4.2), "elevenlabs"),
        Utterance("conv_1", 3, Speaker.AGENT, "It is...", at(65), "elevenlabs", interrupted=True, corrected_at=at(66)),
        Utterance("conv_1", 4, Speaker.TOOL, "opening_hours", at(3700), "local"),
    ),
    cost=ConversationCost("conv_1", at(4000), characters=812, credits=345, call_seconds=62),
    judged_answers=(
        JudgedAnswer("conv_1", 1, 1, at(5), "elevenlabs", defects=(), score=3.9, deviation=0.1),
        JudgedAnswer("conv_1", 2, 4, at(64), "local", defects=("clipped", "gaps")),
    ),
)
EMPTY = ConversationRecord(ConversationSummary("conv_2", "agent_demo", NOON), (), ())


def read_back(document: dict[str, Any]) -> ConversationRecord:
    """The record that a document was made of, by nothing but what the documentation says."""
    name = {"conversation_id": document["conversation"]["id"]}

    def moments(row: dict[str, Any]) -> dict[str, Any]:
        times = {key for key in row if key.endswith("_at") or key == "at"}
        return {key: datetime.fromisoformat(value) if key in times and value else value for key, value in row.items()}

    summary = moments(document["conversation"])
    ended_by = summary.pop("ended_by")
    said = [moments(row) for row in document["utterances"]]
    return ConversationRecord(
        summary=ConversationSummary(**summary, ended_by=EndedBy(ended_by) if ended_by else None),
        legs=tuple(Leg(**name, **moments(row)) for row in document["legs"]),
        utterances=tuple(Utterance(**name, **(row | {"speaker": Speaker(row["speaker"])})) for row in said),
        cost=None if document["cost"] is None else ConversationCost(**name, **moments(document["cost"])),
        judged_answers=None
        if document["judged_answers"] is None
        else tuple(
            JudgedAnswer(
                **name, **(moments(row) | {"defects": None if row["defects"] is None else tuple(row["defects"])})
            )
            for row in document["judged_answers"]
        ),
    )


@pytest.mark.parametrize("record", [RECORD, EMPTY], ids=["full", "empty"])
def test_what_is_exported_is_everything_that_is_kept(record: ConversationRecord) -> None:
    assert read_back(json.loads(json.dumps(as_document(record)))) == record


def test_the_document_says_what_it_is_and_has_the_shape_that_is_documented() -> None:
    document = as_document(RECORD)
    assert (document["format"], document["version"]) == ("vocero.conversation", 1)
    assert list(document) == ["format", "version", "conversation", "legs", "utterances", "cost", "judged_answers"]
    assert document["conversation"]["started_at"] == "2026-03-01T12:00:00.000000Z"
    assert document["utterances"][2]["interrupted"] is True
    assert document["legs"][1]["provider_conversation_id"] is None


def test_every_field_of_every_value_is_in_the_document() -> None:
    document = as_document(RECORD)
    for made_of, part in (
        (ConversationSummary, document["conversation"]),
        (Leg, document["legs"][0]),
        (Utterance, document["utterances"][0]),
        (ConversationCost, document["cost"]),
        (JudgedAnswer, document["judged_answers"][0]),
    ):
        names = {field.name for field in fields(made_of)} - {"conversation_id"}
        assert set(part) == names


def test_times_are_in_utc_whatever_zone_they_came_in() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    document = as_document(replace(EMPTY, summary=replace(EMPTY.summary, started_at=elsewhere)))
    assert document["conversation"]["started_at"] == "2026-03-01T12:00:00.000000Z"


def test_the_transcript_tells_who_said_what_when_and_where_it_was_interrupted() -> None:
    assert as_text(RECORD) == (
        "id        conv_1\n"
        "agent     agent_demo\n"
        "user      ana\n"
        "language  es\n"
        "began     2026-03-01 12:00:00 UTC\n"
        "ended     2026-03-01 13:02:05 UTC (after 1:02:05, by the agent, 1000 Agent ended the conversation)\n"
        "leg 1     elevenlabs, conv_el, agent 1011\n"
        "leg 2     local\n"
        "cost      345 credits, 812 characters, 62 seconds\n"
        "\n"
        "   0:01  agent (elevenlabs)    Hello, how can I help?\n"
        "   0:04  user                  ¿Qué hora es? 👋\n"
        "   1:05  agent (elevenlabs)    It is... [interrupted]\n"
        "1:01:40  tool (local)          opening_hours\n"
    )


def test_a_conversation_of_which_hardly_anything_is_known_has_a_transcript_too() -> None:
    assert as_text(EMPTY) == (
        "id        conv_2\n"
        "agent     agent_demo\n"
        "began     2026-03-01 12:00:00 UTC\n"
        "ended     not yet, or nobody knows\n"
        "\n"
        "Nothing that was said is kept.\n"
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b]0;owned\x07hello", "\ufffd]0;owned\ufffdhello"),
        ("\x1b[2J", "\ufffd[2J"),
        ("right\u202eleft", "right\ufffdleft"),
        ("a\r\nb\tc  d", "a b c d"),
        ("naïve 日本語 👋", "naïve 日本語 👋"),
    ],
)
def test_what_a_user_says_commands_no_terminal(said: str, shown: str) -> None:
    assert readable(said) == shown
    spoken = (Utterance("conv_2", 1, Speaker.USER, said, NOON, "elevenlabs"),)
    assert as_text(replace(EMPTY, utterances=spoken)).endswith(f"user                  {shown}\n")


@pytest.mark.parametrize(("seconds", "shown"), [(-3, "0:00"), (0, "0:00"), (59.9, "0:59"), (3600, "1:00:00")])
def test_a_duration_is_short(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown
