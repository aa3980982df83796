"""A conversation as a document: JSON that programs may rely on, and a transcript for people to read.

The key decision: the JSON has everything that is kept and a version of its own. A field may be added to a version;
what changes or takes one away makes a new one (`docs/privacy.md` describes them). The transcript goes to terminals, so
whatever a user said in control characters is not in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from service.storage.conversation_records import (
    ConversationCost,
    ConversationRecord,
    ConversationSummary,
    Speaker,
    Utterance,
)
from service.storage.values import Value

FORMAT = "vocero.conversation"
VERSION = 1
_LABEL_WIDTH = 10
_SPEAKER_WIDTH = 22


def as_document(record: ConversationRecord) -> dict[str, Any]:
    """Everything that is kept of a conversation, of JSON's types only; times are RFC 3339 in UTC."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "conversation": summary_as_document(record.summary),
        "legs": [_of(leg, without="conversation_id") for leg in record.legs],
        "utterances": [_of(utterance, without="conversation_id") for utterance in record.utterances],
        "cost": None if record.cost is None else _of(record.cost, without="conversation_id"),
        "judged_answers": _judged(record),
    }


def _judged(record: ConversationRecord) -> list[dict[str, Any]] | None:
    if record.judged_answers is None:
        return None
    return [_of(answer, without="conversation_id") for answer in record.judged_answers]


def summary_as_document(summary: ConversationSummary) -> dict[str, Any]:
    """The conversation's own part of it, as lists show it."""
    return _of(summary)


def _of(value: Value, without: str = "") -> dict[str, Any]:
    return {field.name: _json(getattr(value, field.name)) for field in fields(value) if field.name != without}


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, tuple):
        return list(value)
    return value.value if isinstance(value, StrEnum) else value


# --- For people ----------------------------------------------------------------------------------------------------


def as_text(record: ConversationRecord) -> str:
    """The conversation as a transcript, ending with a newline; times of what was said count from its beginning."""
    head = [f"{label:<{_LABEL_WIDTH}}{readable(text)}" for label, text in _head(record) if text]
    said = [_line(utterance, record.summary.started_at) for utterance in record.utterances]
    return "\n".join([*head, "", *(said or ["Nothing that was said is kept."])]) + "\n"


def readable(text: str) -> str:
    """`text` on one line, with U+FFFD for every character that a terminal might obey instead of showing it."""
    return "".join(one if one.isprintable() else "\ufffd" for one in " ".join(text.split()))


def duration(seconds: float) -> str:
    """Seconds as hours, minutes and seconds, without leading hours: 4:07 or 1:00:03."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(at: datetime) -> str:
    """A moment to the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _head(record: ConversationRecord) -> Iterator[tuple[str, str | None]]:
    summary = record.summary
    yield "id", summary.id
    yield "agent", summary.agent_id
    yield "user", summary.user_id
    yield "language", summary.language
    yield "began", moment(summary.started_at)
    yield "ended", _ending(summary)
    for leg in record.legs:
        yield f"leg {leg.number}", ", ".join(filter(None, [leg.provider, leg.provider_conversation_id, leg.end_cause]))
    yield "cost", None if record.cost is None else _cost(record.cost)


def _ending(summary: ConversationSummary) -> str:
    if summary.ended_at is None:
        return "not yet, or nobody knows"
    lasted = duration((summary.ended_at - summary.started_at).total_seconds())
    by = "" if summary.ended_by is None else f", by the {summary.ended_by}"
    code = "" if summary.end_code is None else f", {summary.end_code}"
    reason = f" {summary.end_reason}" if summary.end_reason else ""
    return f"{moment(summary.ended_at)} (after {lasted}{by}{code}{reason})"


def _cost(cost: ConversationCost) -> str:
    known = [
        f"{number} {unit}"
        for number, unit in ((cost.credits, "credits"), (cost.characters, "characters"), (cost.call_seconds, "seconds"))
        if number is not None
    ]
    return ", ".join(known) or "the provider does not say"


def _line(utterance: Utterance, started_at: datetime) -> str:
    at = duration((utterance.at - started_at).total_seconds())
    by = utterance.speaker.value
    if utterance.speaker is not Speaker.USER:
        by += f" ({readable(utterance.provider)})"
    marks = " [interrupted]" if utterance.interrupted else ""
    return f"{at:>7}  {by:<{_SPEAKER_WIDTH}}{readable(utterance.text)}{marks}"
