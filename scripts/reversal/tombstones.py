"""What was erased stays erased, also when an older state of the database comes back.

The key decision: the orders to erase, and what providers still owe of them, are read out before a restore, kept beside
the journal, merged into what comes back, and carried out there at once, while nobody can look yet. That is plain SQL on
the columns that revision 0005 made: the models of this code may be newer than the schema that comes back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.reversal.databases import Keeper
from service.storage import SubjectKind, subject_hash

Row = dict[str, str | int | None]
PAGE = 5000


@dataclass(frozen=True)
class _Table:
    """A table that is carried over: its key, its other columns, and when a row is newer than the one that is there."""

    name: str
    key: tuple[str, ...]
    others: tuple[str, ...]
    newer: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.key, *self.others)

    @property
    def upsert(self) -> str:
        values = ", ".join(f":{column}" for column in self.columns)
        changes = ", ".join(f"{column} = excluded.{column}" for column in self.others)
        return (
            f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({values})"  # noqa: S608 (names of our own)
            f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changes} WHERE {self.newer}"
        )


ORDERS = _Table(
    "erasure_tombstones",
    ("subject_kind", "subject_hash"),
    ("requested_at", "requested_by"),
    "excluded.requested_at > erasure_tombstones.requested_at",
)
DELETIONS = _Table(
    "provider_deletions",
    ("provider", "provider_conversation_id"),
    ("subject_kind", "subject_hash", "attempts", "last_error", "next_attempt_at", "confirmed_at"),
    "excluded.confirmed_at IS NOT NULL AND provider_deletions.confirmed_at IS NULL",
)
CARRIED = (ORDERS, DELETIONS)  # the second one's rows point at the first one's


def export(keeper: Keeper, tables: Collection[str], path: Path) -> int:
    """Write what the database has of both to `path`, in the place of what is in it from before; how many orders.

    A restore that was interrupted does not come here again: what it would read then is no longer the newest.
    """
    kept = {table.name: _rows(keeper, table) if table.name in tables else [] for table in CARRIED}
    partial = path.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as output:
        json.dump(kept, output)
        output.flush()
        os.fsync(output.fileno())
    partial.replace(path)
    return len(kept[ORDERS.name])


def merge(keeper: Keeper, tables: Collection[str], path: Path) -> int:
    """Put what `path` has, and the database has not or has older, into it; how many orders there are in `path`."""
    kept = _read(path)
    for table in CARRIED:
        if table.name in tables:
            for row in kept[table.name]:
                keeper.query(keeper.url, table.upsert, row)
    if ORDERS.name in tables:  # the service's own job then looks again, also at what providers have
        keeper.query(keeper.url, f"UPDATE {ORDERS.name} SET applied_at = NULL", {})  # noqa: S608
    return len(kept[ORDERS.name])


def carry_out(keeper: Keeper, tables: Collection[str], path: Path) -> int:
    """Delete the conversations that were erased by the orders in `path`; how many there were.

    An order for a user is about the conversations before it: those after it are of a user who came back.
    """
    orders = _read(path)[ORDERS.name]
    if "conversations" not in tables or not orders:
        return 0
    by_subject = {(order["subject_kind"], order["subject_hash"]): str(order["requested_at"]) for order in orders}
    erased, after = 0, ""
    while page := keeper.query(
        keeper.url,
        "SELECT id, user_id, started_at FROM conversations WHERE id > :after ORDER BY id LIMIT :page",
        {"after": after, "page": PAGE},
    ):
        after = str(page[-1][0])
        for identifier, user, started_at in page:
            if _is_erased(by_subject, str(identifier), user, str(_plain(started_at))):
                keeper.query(keeper.url, "DELETE FROM conversations WHERE id = :id", {"id": identifier})
                erased += 1
    return erased


def _is_erased(orders: Mapping[tuple[Any, Any], str], conversation: str, user: object, started_at: str) -> bool:
    kind = SubjectKind.CONVERSATION
    if (kind.value, subject_hash(kind, conversation)) in orders:
        return True
    kind = SubjectKind.USER
    requested_at = orders.get((kind.value, subject_hash(kind, str(user)))) if user is not None else None
    return requested_at is not None and started_at <= requested_at


def _rows(keeper: Keeper, table: _Table) -> list[Row]:
    found = keeper.query(keeper.url, f"SELECT {', '.join(table.columns)} FROM {table.name}", {})  # noqa: S608
    return [{column: _plain(value) for column, value in zip(table.columns, row, strict=True)} for row in found]


def _plain(value: object) -> str | int | None:
    """A value as JSON has it; moments of one database compare as their texts do."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(" ", timespec="microseconds")
    return value if value is None or isinstance(value, int) else str(value)


def _read(path: Path) -> dict[str, list[Row]]:
    kept: Mapping[str, Sequence[Row]] = json.loads(path.read_text()) if path.exists() else {}
    return {table.name: list(kept.get(table.name, ())) for table in CARRIED}
