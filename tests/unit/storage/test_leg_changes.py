"""Which conversations changed their provider lately: newest first, with the cause, and without reading everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from service.storage import Conversations, Database, Leg, LegChange, LegChanges
from tests.unit.storage.test_plans import plans_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


@pytest.fixture
def kept(database: Database) -> Database:
    """One that stayed, one that went away and came back, and one that another worker took up at the same provider."""
    conversations = Conversations(database)
    for name in ("stayed", "moved", "resumed"):
        conversations.start(name, agent_id="agent", started_at=NOON)
    conversations.put_leg(Leg("stayed", 1, "elevenlabs", NOON, ended_at=at(9), end_cause="client 1000"))
    conversations.put_leg(Leg("moved", 1, "elevenlabs", NOON, ended_at=at(1), end_cause="connection_lost"))
    conversations.put_leg(Leg("moved", 2, "local", at(1), ended_at=at(5), end_cause="returned"))
    conversations.put_leg(Leg("moved", 3, "elevenlabs", at(5)))
    conversations.put_leg(Leg("resumed", 1, "elevenlabs", NOON, ended_at=at(2), end_cause="resumed"))
    conversations.put_leg(Leg("resumed", 2, "elevenlabs", at(3)))
    return database


def test_changes_of_the_provider_come_newest_first_with_their_cause(kept: Database) -> None:
    assert LegChanges(kept).newest() == [
        LegChange("moved", 3, "local", "elevenlabs", "returned", at(5)),
        LegChange("moved", 2, "elevenlabs", "local", "connection_lost", at(1)),
    ]


def test_no_more_are_told_than_were_asked_for(kept: Database) -> None:
    assert [change.number for change in LegChanges(kept).newest(limit=1)] == [3]


def test_the_newest_conversations_are_found_along_their_index(database: Database) -> None:
    plan = plans_of(database, lambda each: LegChanges(each).newest())
    assert "ix_conversations_started_at_id" in plan
    if database.is_sqlite:
        assert "SCAN legs" not in plan
