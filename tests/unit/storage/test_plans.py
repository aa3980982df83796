"""Lists and deletions go along an index, so that they cost the same in a database of years."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, event

from service.storage import AuditFilter, AuditLog, ConversationFilter, Conversations, Database

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CURSOR = "MjAyNi0wMy0wMVQxMjowMDowMCswMDowMHxjMQ"
Call = Callable[[Database], Any]


def plans_of(database: Database, call: Call) -> str:
    """How the database goes about the statements of `call`; PostgreSQL is told that reading a table whole is dear."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    call(database)
    event.remove(database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    with database.engine.connect() as connection:
        if not database.is_sqlite:
            connection.exec_driver_sql("SET enable_seqscan = off")
            connection.exec_driver_sql("SET enable_bitmapscan = off")
        return "\n".join(
            str(row[-1])
            for statement in statements
            for row in connection.exec_driver_sql(explain + statement[0], statement[1])
        )


def searching(**wanted: Any) -> Call:
    return lambda database: Conversations(database).search(ConversationFilter(**wanted), cursor=CURSOR)


def auditing(**wanted: Any) -> Call:
    return lambda database: AuditLog(database).search(AuditFilter(**wanted), cursor="9")


@pytest.mark.parametrize(
    ("call", "index"),
    [
        (searching(), "ix_conversations_started_at_id"),
        (searching(since=NOON), "ix_conversations_started_at_id"),
        (searching(agent_id="a"), "ix_conversations_agent_id_started_at_id"),
        (searching(user_id="u"), "ix_conversations_user_id_started_at_id"),
        (auditing(actor="ana"), "ix_audit_entries_actor_sequence"),
        (auditing(action="a"), "ix_audit_entries_action_sequence"),
        (auditing(subject="s"), "ix_audit_entries_subject_sequence"),
        (lambda database: Conversations(database).prune_utterances(NOON), "ix_utterances_at"),
        (lambda database: Conversations(database).prune(NOON), "ix_conversations_started_at_id"),
    ],
)
def test_it_goes_along_its_index_and_sorts_nothing(database: Database, call: Call, index: str) -> None:
    plan = plans_of(database, call)
    assert index in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


def test_a_conversation_is_found_by_its_providers_name_along_the_index(database: Database) -> None:
    assert "ix_legs_provider_conversation_id" in plans_of(database, searching(provider_conversation_id="conv_1"))
