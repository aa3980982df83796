"""Costs: kept where there is a table for them, and nothing that fails where there is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from migrations import runner
from service.storage import (
    ConversationCost,
    ConversationCosts,
    Conversations,
    Database,
    EndedBy,
    Leg,
    check_schema,
    open_database,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
COST = ConversationCost("c1", NOON, characters=120, credits=60, call_seconds=33)


def held(database: Database, conversation_id: str = "c1", *, minutes: int | None = 1) -> Conversations:
    """A conversation of so many minutes; None: it lasts."""
    conversations = Conversations(database)
    conversations.start(conversation_id, agent_id="a", started_at=NOON)
    theirs = f"conv_{conversation_id}"
    conversations.put_leg(Leg(conversation_id, 1, "elevenlabs", NOON, provider_conversation_id=theirs))
    if minutes is not None:
        ended_at = NOON + timedelta(minutes=minutes)
        conversations.end(conversation_id, ended_at=ended_at, ended_by=EndedBy.CLIENT, code=1000, reason=None)
    return conversations


def missing(costs: ConversationCosts) -> list[str]:
    found = costs.missing("elevenlabs", since=NOON - timedelta(days=1), until=NOON + timedelta(hours=1))
    return [leg.conversation_id for leg in found]


def test_a_cost_is_kept_and_belongs_to_its_conversation(database: Database) -> None:
    conversations, costs = held(database), ConversationCosts(database)
    assert costs.get("c1") is None
    assert costs.put(COST)
    assert costs.put(COST)
    assert costs.get("c1") == COST
    record = conversations.get("c1")
    assert record is not None
    assert record.cost == COST
    conversations.erase("c1")
    assert costs.get("c1") is None


def test_a_newer_cost_takes_the_place_of_an_older_one_and_not_the_other_way_round(database: Database) -> None:
    held(database)
    costs = ConversationCosts(database)
    newer = ConversationCost("c1", NOON + timedelta(hours=1), credits=61)
    costs.put(newer)
    costs.put(COST)
    assert costs.get("c1") == newer


def test_a_cost_of_no_conversation_is_not_kept(database: Database) -> None:
    assert not ConversationCosts(database).put(COST)


def test_what_is_missing_are_the_costs_of_conversations_that_have_ended(database: Database) -> None:
    for name, minutes in [("c1", 1), ("c2", 2), ("running", None), ("too-new", 90)]:
        held(database, name, minutes=minutes)
    Conversations(database).put_leg(Leg("c2", 2, "local", NOON))
    costs = ConversationCosts(database)
    assert missing(costs) == ["c1", "c2"]
    costs.put(COST)
    assert missing(costs) == ["c2"]
    assert costs.missing("elevenlabs", since=NOON + timedelta(seconds=1), until=NOON + timedelta(days=1)) == []


def test_on_the_schema_without_the_table_costs_are_simply_not_kept(database_at_0005: Database) -> None:
    conversations, costs = held(database_at_0005), ConversationCosts(database_at_0005)
    assert not costs.put(COST)
    assert costs.get("c1") is None
    assert missing(costs) == []
    record = conversations.get("c1")
    assert record is not None
    assert record.cost is None
    assert conversations.erase("c1")


@pytest.mark.parametrize("act", ["put", "get", "missing", "read the conversation"])
def test_a_table_that_a_rollback_takes_away_under_a_running_process_is_no_failure(
    migrated_url: str, database: Database, act: str
) -> None:
    conversations, costs = held(database), ConversationCosts(database)
    costs.put(COST)
    database.close()
    runner.downgrade(migrated_url, "0005")
    if act == "put":
        assert not costs.put(COST)
    elif act == "get":
        assert costs.get("c1") is None
    elif act == "missing":
        assert missing(costs) == []
    else:
        record = conversations.get("c1")
        assert record is not None
        assert record.cost is None
    assert not costs.put(COST)
    assert database.revision == "0005"


def test_a_table_that_comes_later_is_used_from_the_next_check_on(empty_url: str, database_at_0005: Database) -> None:
    held(database_at_0005)
    runner.upgrade(empty_url)
    check_schema(database_at_0005)
    assert ConversationCosts(database_at_0005).put(COST)


def test_whoever_never_checked_the_schema_finds_out_by_itself(empty_url: str) -> None:
    runner.upgrade(empty_url, "0005")
    database = open_database(empty_url)
    held(database)
    assert not ConversationCosts(database).put(COST)
    database.close()
