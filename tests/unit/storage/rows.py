"""Rows for each table, in the plain terms of the revision that made it: what a step up or down has to leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, MetaData, Table, insert, select

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EACH = 3


def _rows(number: int) -> dict[str, dict[str, Any]]:
    """One row for each table, parents first; they hang together, and none is like that of another number."""
    moment = NOON + timedelta(minutes=number)
    return {
        "api_keys": {
            "id": f"key{number}",
            "name": "shop",
            "key_hash": f"{number:064}",
            "last_characters": "wxyz",
            "created_at": moment,
        },
        "api_key_limits": {"key_id": f"key{number}", "scopes": "speech", "max_concurrent": 7},
        "conversations": {
            "id": f"c{number}",
            "agent_id": "agent",
            "user_id": "user",
            "language": "es",
            "started_at": moment,
            "ended_at": moment,
            "ended_by": "client",
            "end_code": 1000,
            "end_reason": "bye",
            "opening_seconds": 0.25,
        },
        "legs": {"conversation_id": f"c{number}", "number": 1, "provider": "elevenlabs", "started_at": moment},
        "utterances": {
            "conversation_id": f"c{number}",
            "sequence": 1,
            "speaker": "user",
            "text": "¿Qué hora es?",
            "at": moment,
            "provider": "elevenlabs",
            "interrupted": True,
        },
        "deployments": {
            "id": f"d{number}",
            "release": f"1.{number}.0",
            "revision": "0002",
            "node": "node",
            "at": moment,
        },
        "audit_entries": {
            "sequence": number + 1,
            "at": moment,
            "actor": "ana",
            "action": "key.revoke",
            "subject": "key 7",
            "before": '{"revoked": false}',
            "previous_hash": f"{number:064}",
            "hash": f"{number + 1:064}",
        },
        "admin_users": {"id": f"u{number}", "name": f"ana{number}", "role": "admin", "created_at": moment},
        "erasure_tombstones": {
            "subject_kind": "user",
            "subject_hash": f"{number:064}",
            "requested_at": moment,
            "requested_by": "ana",
        },
        "provider_deletions": {
            "provider": "elevenlabs",
            "provider_conversation_id": f"conv{number}",
            "subject_kind": "user",
            "subject_hash": f"{number:064}",
            "attempts": 2,
            "next_attempt_at": moment,
        },
        "job_runs": {"name": f"job{number}", "holder": "node", "lease_until": moment},
        "conversation_costs": {"conversation_id": f"c{number}", "credits": 7, "fetched_at": moment},
        "judged_answers": {
            "conversation_id": f"c{number}",
            "leg": 1,
            "turn": 2,
            "at": moment,
            "provider": "elevenlabs",
            "defects": "clipped,gaps",
            "score": 3.5,
        },
    }


_OVERRIDES = [
    {"capability": name, "mode": "auto", "reason": "", "author": "ana", "set_at": NOON, "version": 1}
    for name in ("conversation", "speech")
]


def tables(connection: Connection) -> dict[str, Table]:
    """The tables that there are, without Alembic's own."""
    metadata = MetaData()
    metadata.reflect(connection)
    return {name: table for name, table in metadata.tables.items() if name != "alembic_version"}


def fill(connection: Connection, found: Mapping[str, Table], wanted: set[str] | None = None) -> None:
    """Write some rows into each table that there is (into those that are wanted)."""
    for number in range(EACH):
        for name, row in _rows(number).items():
            if name in found and (wanted is None or name in wanted):
                connection.execute(insert(found[name]).values(row))
    if "overrides" in found and (wanted is None or "overrides" in wanted):
        connection.execute(insert(found["overrides"]), _OVERRIDES)


def content(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    return {
        name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
        for name, table in tables(connection).items()
    }
