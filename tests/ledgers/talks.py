"""Conversations to be noted, and what the database must have of them in the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from scripts.launcher.waiting import wait_until
from service.conversation.ledger import Ledger
from service.storage import Conversations, Database
from service.storage.conversation_records import ConversationSummary, EndedBy, Leg, Speaker, Utterance
from service.storage.record_writer import Record

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LIMIT = 20.0


def began(name: str, *, user: str | None = None, at: datetime = NOW) -> ConversationSummary:
    return ConversationSummary(id=name, agent_id="agent_one", started_at=at, user_id=user, language="es")


def ended(name: str) -> ConversationSummary:
    return replace(
        began(name), ended_at=NOW, ended_by=EndedBy.CLIENT, end_code=1000, end_reason="", first_audio_seconds=0.4
    )


def leg(name: str, number: int = 1) -> Leg:
    return Leg(name, number, "elevenlabs", NOW, provider_conversation_id=name)


def said(name: str, sequence: int, text: str = "Hello.") -> Utterance:
    return Utterance(name, sequence, Speaker.AGENT, text, NOW + timedelta(seconds=sequence), "elevenlabs")


def corrected(name: str, sequence: int, text: str = "Hel...", *, seconds: float = 0.0) -> Utterance:
    at = NOW + timedelta(seconds=sequence + 1 + seconds)
    return replace(said(name, sequence, text), interrupted=True, corrected_at=at)


def whole(name: str, utterances: int = 5) -> list[Record]:
    """A conversation from its beginning to its end; every third thing that was said is corrected."""
    records: list[Record] = [began(name), leg(name)]
    for sequence in range(1, utterances + 1):
        records.append(said(name, sequence))
        if sequence % 3 == 0:
            records.append(corrected(name, sequence))
    return [*records, replace(leg(name), ended_at=NOW, end_cause="client 1000"), ended(name)]


def note_all(ledger: Ledger, records: Iterable[Record]) -> None:
    for record in records:
        ledger.note(record)


def texts(database: Database, name: str) -> list[tuple[int, str]]:
    """What the database has of what was said."""
    found = Conversations(database).get(name)
    return [] if found is None else [(one.sequence, one.text) for one in found.utterances]


def expected(utterances: int) -> list[tuple[int, str]]:
    """What it has to have of `whole`."""
    return [(sequence, "Hel..." if sequence % 3 == 0 else "Hello.") for sequence in range(1, utterances + 1)]


def wait_until_whole(database: Database, name: str, utterances: int = 5, limit: float = LIMIT) -> None:
    """Wait until the database has all of `whole`."""

    def is_whole() -> bool:
        found = Conversations(database).get(name)
        if found is None or found.summary.ended_by is None or not found.legs or found.legs[0].ended_at is None:
            return False
        return texts(database, name) == expected(utterances)

    wait_until(is_whole, limit, f"all of {name} in the database")
