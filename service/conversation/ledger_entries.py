"""A record as it lies in the ledger: a kind, and compact JSON.

The key decision: what is None or usual is left out, and what is unknown is ignored when it is read: so two releases
can share a ledger while one takes the other's place. An entry that cannot be read is nobody's: it raises a ValueError,
and its reader counts it and goes on.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson

from service.storage.conversation_records import ConversationSummary, EndedBy, Leg, Speaker, Utterance
from service.storage.record_writer import Record


class EntryKind(StrEnum):
    """What an entry of the ledger says."""

    SUMMARY = "summary"
    END = "end"  # a summary, too: the last entry of a conversation
    LEG = "leg"
    UTTERANCE = "utterance"
    OWNER = "owner"  # somebody else goes on with the conversation from here


_TYPES: dict[EntryKind, type[Record]] = {
    EntryKind.SUMMARY: ConversationSummary,
    EntryKind.END: ConversationSummary,
    EntryKind.LEG: Leg,
    EntryKind.UTTERANCE: Utterance,
}
_READERS: dict[str, Any] = {
    "started_at": datetime.fromisoformat,
    "ended_at": datetime.fromisoformat,
    "at": datetime.fromisoformat,
    "corrected_at": datetime.fromisoformat,
    "ended_by": EndedBy,
    "speaker": Speaker,
}


def kind_of(record: Record) -> EntryKind:
    """What the entry of a record is called."""
    if isinstance(record, ConversationSummary):
        return EntryKind.SUMMARY if record.ended_at is None else EntryKind.END
    return EntryKind.LEG if isinstance(record, Leg) else EntryKind.UTTERANCE


def conversation_id_of(record: Record) -> str:
    """Whose record it is."""
    return record.id if isinstance(record, ConversationSummary) else record.conversation_id


def encode(record: Record) -> bytes:
    """The record as JSON; always the same bytes for the same record."""
    said = {
        field.name: value
        for field in fields(record)
        if (value := getattr(record, field.name)) != field.default or field.default is MISSING
    }
    try:
        return orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # half of a surrogate pair, as JSON from outside may have one
        plain = {name: _plain(value) if isinstance(value, str) else value for name, value in said.items()}
        return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)


def decode(kind: str, raw: bytes) -> Record | None:
    """The record in an entry; None if the entry has none.

    Raises:
        ValueError: it is no entry that this release can read.
    """
    known = EntryKind(kind)
    if known is EntryKind.OWNER:
        return None
    said = orjson.loads(raw)
    if not isinstance(said, dict):
        raise ValueError("an entry that is no object")  # noqa: TRY004 (its reader looks for one kind of error)
    made = _TYPES[known]
    try:
        return made(
            **{
                field.name: _read(field.name, said[field.name])
                for field in fields(made)
                if said.get(field.name) is not None
            }
        )
    except (TypeError, AttributeError):  # something is missing, or is no text where one has to be
        raise ValueError(f"an entry of kind {known} that is none") from None


def _read(name: str, value: Any) -> Any:
    read = _READERS.get(name)
    return value if read is None else read(value)


def _plain(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
