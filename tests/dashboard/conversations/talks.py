"""Conversations as the service keeps them, for the dashboard's tests: in the database, and in the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import redis

from dashboard.web.context import EXTENSION
from service.conversation.ledger_entries import encode, kind_of
from service.conversation.ledger_stream import Append, LedgerStream
from service.storage import (
    AuditLog,
    Conversations,
    ConversationSummary,
    Database,
    EndedBy,
    Leg,
    Speaker,
    Utterance,
    open_database,
)
from service.storage.record_writer import Record
from tests.dashboard.dashboards import Dashboard

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def keep(
    database: Database,
    name: str,
    *,
    began: datetime = NOON,
    agent_id: str = "agent_demo",
    user_id: str | None = "ana@example.com",
    words: tuple[str, ...] = (),
    code: int | None = 1000,
    switched: bool = False,
) -> None:
    """A conversation of half a minute, the user's words and the agent's in turn; without a `code` it goes on."""
    kept = Conversations(database)
    kept.start(
        name,
        agent_id=agent_id,
        user_id=user_id,
        started_at=began,
        language="es",
        opening_seconds=0.25,
        first_audio_seconds=0.5,
    )
    end = began + timedelta(seconds=30)
    kept.put_leg(
        Leg(
            name,
            1,
            "elevenlabs",
            began,
            provider_conversation_id=f"conv_of_{name}",
            ended_at=end if switched or code is not None else None,
            end_cause="first_audio_late" if switched else None if code is None else f"client {code}",
        )
    )
    if switched:
        kept.put_leg(Leg(name, 2, "local", end))
    speakers = (Speaker.USER, Speaker.AGENT)
    kept.append(
        Utterance(name, number + 1, speakers[number % 2], text, began + timedelta(seconds=2 * number), "elevenlabs")
        for number, text in enumerate(words)
    )
    if code is not None:
        kept.end(name, ended_at=end, ended_by=EndedBy.CLIENT, code=code, reason="bye")


def note_in_ledger(store: redis.Redis, name: str, *records: Record) -> None:
    """Have the ledger hold these of a conversation, as its worker writes them; the database has none of it yet."""
    entries = [(number, str(kind_of(record)), encode(record)) for number, record in enumerate(records, start=1)]
    LedgerStream(store).append([Append(name, 1, 0, entries)])


def begun(name: str, *, at: datetime | None = None) -> ConversationSummary:
    """The beginning of one, now unless said otherwise."""
    return ConversationSummary(name, "agent_demo", at or datetime.now(UTC), user_id="ana@example.com")


def without_database(dashboard: Dashboard) -> None:
    """Have the pages find no database from now on."""
    nowhere = open_database(f"sqlite:///{Path('/nonexistent')}/vocero.db")
    dashboard.app.extensions[EXTENSION] = replace(dashboard.parts, database=nowhere, audit=AuditLog(nowhere))
