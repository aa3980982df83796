"""A conversation as a line of moments, made from what is kept of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from service.conversation.ledger_history import History
from service.conversation.timeline import Moment, moments_of, timeline
from service.storage.conversation_records import ConversationSummary, EndedBy, Leg, Speaker, Utterance

BEGIN = datetime(2026, 11, 28, 12, tzinfo=UTC)
SECRET = "what nobody may read here"


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def said(
    sequence: int, speaker: Speaker, seconds: float, *, text: str = SECRET, interrupted: bool = False
) -> Utterance:
    return Utterance("conv_1", sequence, speaker, text, at(seconds), "elevenlabs", interrupted=interrupted)


def summary(*, is_over: bool = True) -> ConversationSummary:
    made = ConversationSummary("conv_1", "agent_one", BEGIN, opening_seconds=0.2, first_audio_seconds=0.5)
    if not is_over:
        return made
    return ConversationSummary(
        "conv_1", "agent_one", BEGIN, ended_at=at(30), ended_by=EndedBy.CLIENT, end_code=1000,
        opening_seconds=0.2, first_audio_seconds=0.5,
    )  # fmt: skip


def history(*utterances: Utterance, is_over: bool = True) -> History:
    legs = (
        Leg("conv_1", 1, "elevenlabs", at(0.2), ended_at=at(12), end_cause="connection_lost"),
        Leg("conv_1", 2, "local", at(12), ended_at=at(30) if is_over else None, end_cause="client 1000"),
    )
    return History(summary(is_over=is_over), legs, utterances)


def kinds(moments: list[Moment]) -> list[str]:
    return [moment.kind.value for moment in moments]


def test_the_moments_stand_in_their_order_with_what_was_waited_for_them() -> None:
    moments = moments_of(
        history(
            said(1, Speaker.AGENT, 0.4),
            said(2, Speaker.USER, 5),
            said(3, Speaker.TOOL, 5.5, text="look_up"),
            said(4, Speaker.AGENT, 6.25),
            said(5, Speaker.USER, 11),
        )
    )
    assert kinds(moments) == [
        "began", "opened", "leg_began", "agent_answered", "first_audio", "user_spoke", "tool_answered",
        "agent_answered", "user_spoke", "leg_ended", "leg_began", "leg_ended", "ended",
    ]  # fmt: skip
    assert [moment.latency_seconds for moment in moments] == [
        None, 0.2, None, None, 0.5, None, None, 1.25, None, None, None, None, None,
    ]  # fmt: skip
    assert [moment.detail for moment in moments if moment.kind == "leg_began"] == ["first", "connection_lost"]
    assert [moment.detail for moment in moments if moment.kind == "tool_answered"] == ["look_up"]
    assert moments[-1].detail == "client 1000"
    assert moments[-1].seconds == 30.0
    assert SECRET not in repr(moments)


def test_what_came_of_each_turn_stands_at_the_users_last_words() -> None:
    words = (
        said(1, Speaker.USER, 1),
        said(2, Speaker.USER, 2),
        said(3, Speaker.AGENT, 3),
        said(4, Speaker.USER, 5),
        said(5, Speaker.AGENT, 6, interrupted=True),
        said(6, Speaker.USER, 7),
    )
    for is_over, last in ((True, "unanswered"), (False, "open")):
        moments = moments_of(history(*words, is_over=is_over))
        results = [moment.result for moment in moments if moment.kind == "user_spoke"]
        assert results == [None, "answered", "interrupted", last]


def test_of_a_conversation_that_nobody_knows_there_is_nothing() -> None:
    class Nothing:
        def read_history(self, conversation_id: str) -> History:
            return History(None, (), ())

    assert timeline(Nothing(), "conv_unknown") == []
