"""Conversations as a worker would have kept them, and what is left of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from service.elevenlabs.vocabulary import PROVIDER
from service.storage import Conversations, Database, EndedBy, Leg, Speaker, Utterance

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLES = ("conversations", "legs", "utterances", "conversation_costs")


def keep(
    database: Database,
    conversation_id: str,
    *,
    at: datetime = NOON,
    user_id: str | None = None,
    said: int = 2,
    ends: bool = True,
    with_leg: bool = True,
    theirs: str | None = None,
) -> None:
    """Keep a conversation that began `at`, in which something is `said` every second."""
    conversations = Conversations(database)
    conversations.start(conversation_id, agent_id="agent_demo", started_at=at, user_id=user_id)
    if with_leg:
        conversations.put_leg(Leg(conversation_id, 1, PROVIDER, at, provider_conversation_id=theirs or conversation_id))
    conversations.append(utterances(conversation_id, at=at, count=said))
    if ends:
        end = at + timedelta(seconds=said)
        conversations.end(conversation_id, ended_at=end, ended_by=EndedBy.CLIENT, code=1000, reason="")


def utterances(conversation_id: str, *, at: datetime, count: int) -> list[Utterance]:
    """What is said, one utterance each second from `at` on."""
    return [
        Utterance(conversation_id, n + 1, Speaker.USER, f"word {n}", at + timedelta(seconds=n), PROVIDER)
        for n in range(count)
    ]


def counts(database: Database) -> dict[str, int]:
    """How many rows each table of conversations has."""
    with database.reading() as session:
        return {name: session.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in TABLES}


def ids(database: Database) -> set[str]:
    """The conversations that are kept."""
    return {conversation_id for conversation_id, _ in Conversations(database).subjects(limit=10_000)}
