"""A conversation as a line of moments: when it began, who spoke from when on, each turn and its wait, how it ended.

The key decision: it is made from the records that are kept anyway (database and ledger, so also of one that is live),
and holds no words: what was said is shown elsewhere, to who may read it. So it is as good as those records. The first
sound of a conversation is measured; of the turns behind it the records know when the question's text and the answer's
text came, which the agent sends together with the first sound, and not when the client was sent it. What was said while
no words are kept (`VOCERO_TRANSCRIPT_DAYS=0`) is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from service.conversation.ledger_history import History
from service.storage.conversation_records import ConversationSummary, Leg, Speaker, Utterance


class MomentKind(StrEnum):
    """What happened."""

    BEGAN = "began"
    OPENED = "opened"  # the agent's side was there
    LEG_BEGAN = "leg_began"
    FIRST_AUDIO = "first_audio"  # of the conversation
    USER_SPOKE = "user_spoke"
    AGENT_ANSWERED = "agent_answered"
    TOOL_ANSWERED = "tool_answered"
    LEG_ENDED = "leg_ended"
    ENDED = "ended"


class TurnResult(StrEnum):
    """What came of what the user said, as far as the records tell."""

    ANSWERED = "answered"
    INTERRUPTED = "interrupted"
    UNANSWERED = "unanswered"
    OPEN = "open"  # it may be answered still


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One entry: `at`, so many `seconds` after the begin. `sequence` is the utterance's, or the leg's number.

    `detail` is a cause, a code or a tool's name, never words. `latency_seconds` is what was waited for it: from the
    begin to the opening and to the first sound, from the question's text to the answer's. `result` is of a turn, and
    stands at the user's words.
    """

    at: datetime
    seconds: float
    kind: MomentKind
    provider: str | None = None
    sequence: int | None = None
    detail: str | None = None
    latency_seconds: float | None = None
    result: TurnResult | None = None


class HistoryReader(Protocol):
    """Who knows what is kept of a conversation: the `Ledger`."""

    def read_history(self, conversation_id: str) -> History:
        """All of it. Raises ServiceUnavailableError."""


def timeline(histories: HistoryReader, conversation_id: str) -> list[Moment]:
    """The moments of a conversation, oldest first; empty if it is not known.

    Raises:
        ServiceUnavailableError: neither the database nor Redis answers.
    """
    return moments_of(histories.read_history(conversation_id))


def moments_of(history: History) -> list[Moment]:
    """The moments of what is kept of a conversation."""
    summary = history.summary
    if summary is None:
        return []
    moments = [
        *_begin(summary),
        *_legs(summary, history.legs),
        *_words(summary, history.utterances),
        *_end(summary),
    ]
    return sorted(moments, key=lambda moment: (moment.at, _rank(moment), moment.sequence or 0))


def _rank(moment: Moment) -> float:
    """Where it stands among those of the same time: in the order of `MomentKind`, but a leg ends before the next."""
    if moment.kind is MomentKind.LEG_BEGAN and (moment.sequence or 1) > 1:
        return _ORDER.index(MomentKind.LEG_ENDED) + 0.5
    return _ORDER.index(moment.kind)


_ORDER = tuple(MomentKind)


def _begin(summary: ConversationSummary) -> Iterable[Moment]:
    yield _moment(summary, summary.started_at, MomentKind.BEGAN)
    marks = ((MomentKind.OPENED, summary.opening_seconds), (MomentKind.FIRST_AUDIO, summary.first_audio_seconds))
    for kind, seconds in marks:
        if seconds is not None:
            at = summary.started_at + timedelta(seconds=seconds)
            yield _moment(summary, at, kind, latency_seconds=seconds)


def _legs(summary: ConversationSummary, legs: Iterable[Leg]) -> Iterable[Moment]:
    cause = "first"
    for leg in legs:
        begin = _moment(
            summary, leg.started_at, MomentKind.LEG_BEGAN, provider=leg.provider, sequence=leg.number, detail=cause
        )
        yield begin
        if leg.ended_at is not None:
            cause = leg.end_cause or ""
            yield _moment(
                summary, leg.ended_at, MomentKind.LEG_ENDED, provider=leg.provider, sequence=leg.number, detail=cause
            )


def _words(summary: ConversationSummary, utterances: Iterable[Utterance]) -> Iterable[Moment]:
    """Each utterance. Several of the user's before an answer are one turn, whose result stands at the last of them."""
    asked: Utterance | None = None
    for said in utterances:
        if said.speaker is Speaker.USER:
            if asked is not None:
                yield _asked(summary, asked, None)
            asked = said
        elif said.speaker is Speaker.TOOL:
            yield _moment(
                summary, said.at, MomentKind.TOOL_ANSWERED, provider=said.provider, sequence=said.sequence,
                detail=said.text[:128],
            )  # fmt: skip
        else:
            latency = None if asked is None else max(0.0, (said.at - asked.at).total_seconds())
            if asked is not None:
                result = TurnResult.INTERRUPTED if said.interrupted else TurnResult.ANSWERED
                yield _asked(summary, asked, result)
                asked = None
            yield _moment(
                summary, said.at, MomentKind.AGENT_ANSWERED, provider=said.provider, sequence=said.sequence,
                latency_seconds=latency,
            )  # fmt: skip
    if asked is not None:
        yield _asked(summary, asked, TurnResult.OPEN if summary.ended_at is None else TurnResult.UNANSWERED)


def _asked(summary: ConversationSummary, said: Utterance, result: TurnResult | None) -> Moment:
    return _moment(
        summary, said.at, MomentKind.USER_SPOKE, provider=said.provider, sequence=said.sequence, result=result
    )


def _end(summary: ConversationSummary) -> Iterable[Moment]:
    if summary.ended_at is not None:
        by = "" if summary.ended_by is None else summary.ended_by.value
        yield _moment(summary, summary.ended_at, MomentKind.ENDED, detail=f"{by} {summary.end_code}")


def _moment(
    summary: ConversationSummary,
    at: datetime,
    kind: MomentKind,
    *,
    provider: str | None = None,
    sequence: int | None = None,
    detail: str | None = None,
    latency_seconds: float | None = None,
    result: TurnResult | None = None,
) -> Moment:
    return Moment(
        at=at,
        seconds=(at - summary.started_at).total_seconds(),
        kind=kind,
        provider=provider,
        sequence=sequence,
        detail=detail,
        latency_seconds=latency_seconds,
        result=result,
    )
