"""What a database holds, in a form that two databases can be compared by: its schema in lines, and each table's rows.

The key decision: a table's rows are told by their number and by a sum of digests, one for each row. A sum does not
depend on the order of rows, which a restore or a rebuilt table may change, and it is computed where the rows are: in
the server of PostgreSQL, in this process for SQLite.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Inspector, inspect, text

VERSION_TABLE = "alembic_version"


@dataclass(frozen=True)
class Rows:
    """How many rows a table has, and the sum of their digests."""

    count: int
    digest: str


@dataclass(frozen=True)
class Contents:
    """A whole database: its revision, its schema as sorted lines, its tables' rows."""

    revision: str | None
    schema: tuple[str, ...]
    tables: Mapping[str, Rows]

    def as_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Contents:
        """What `as_json` gave."""
        tables = {name: Rows(**rows) for name, rows in kept["tables"].items()}
        return cls(kept["revision"], tuple(kept["schema"]), tables)


def differences(wanted: Contents, found: Contents) -> list[str]:
    """What is different in `found`, a line each; empty if nothing is."""
    lines = schema_differences(wanted.schema, found.schema)
    if wanted.revision != found.revision:
        lines.append(f"the revision is {found.revision}, not {wanted.revision}")
    for table, rows in sorted(wanted.tables.items()):
        there = found.tables.get(table)
        if there is None or there == rows:
            continue  # a table that is missing is a difference of the schema
        if there.count != rows.count:
            lines.append(f"{table} has {there.count} rows, not {rows.count}")
        else:
            lines.append(f"{table} has the right number of rows ({rows.count}), but others in it")
    return lines


def schema_differences(wanted: tuple[str, ...], found: tuple[str, ...]) -> list[str]:
    """Lines that only one of both has."""
    missing = [f"missing: {line}" for line in sorted(set(wanted) - set(found))]
    return missing + [f"too much: {line}" for line in sorted(set(found) - set(wanted))]


def foreign_tables(wanted: tuple[str, ...], found: tuple[str, ...]) -> list[str]:
    """Tables in `found` that `wanted` does not know."""
    ours, theirs = ({line for line in lines if line.startswith("table ")} for lines in (wanted, found))
    return sorted(line.removeprefix("table ") for line in theirs - ours)


# --- Schema ----------------------------------------------------------------------------------------------------------


def schema_lines(connection: Connection) -> tuple[str, ...]:
    """The schema as lines that do not depend on how it came about (order of columns, a table made anew)."""
    inspector = inspect(connection)
    lines: list[str] = []
    for table in inspector.get_table_names():
        lines += _table_lines(inspector, table)
    lines += _programs(connection)
    return tuple(sorted(lines))


def _table_lines(inspector: Inspector, table: str) -> Iterator[str]:
    yield f"table {table}"
    for column in inspector.get_columns(table):
        kind = str(column["type"]).lower()
        null = "null" if column["nullable"] else "not null"
        default = f" default {column['default']}" if column.get("default") else ""
        yield f"column {table}.{column['name']} {kind} {null}{default}"
    key = inspector.get_pk_constraint(table)
    if key["constrained_columns"]:
        yield f"primary key {table} {_names(key['constrained_columns'])}"
    for foreign in inspector.get_foreign_keys(table):
        target = f"{foreign['referred_table']} {_names(foreign['referred_columns'])}"
        options = "".join(f" {name} {value}" for name, value in sorted(foreign.get("options", {}).items()))
        yield f"foreign key {table} {_names(foreign['constrained_columns'])} to {target}{options}".lower()
    for unique in inspector.get_unique_constraints(table):
        yield f"unique {table} {_names(unique['column_names'])} ({unique['name']})"
    for check in inspector.get_check_constraints(table):
        yield f"check {table} {_without_casts(check['sqltext'])} ({check['name']})"
    for index in inspector.get_indexes(table):
        if not index.get("duplicates_constraint"):
            yield _index_line(index, table)


def _index_line(index: Any, table: str) -> str:
    where = [str(value) for name, value in index.get("dialect_options", {}).items() if name.endswith("_where")]
    word = "unique index" if index["unique"] else "index"
    condition = f" where {_without_casts(where[0])}" if where else ""
    return f"{word} {table} {_names(index['column_names'])} ({index['name']}){condition}"


def _programs(connection: Connection) -> list[str]:
    """Triggers and functions, by their text."""
    if connection.dialect.name == "sqlite":
        statement = "SELECT sql FROM sqlite_master WHERE type = 'trigger'"
    else:
        statement = (
            "SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
            " WHERE NOT t.tgisinternal AND c.relnamespace = to_regnamespace(current_schema()) UNION ALL"
            " SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.pronamespace = to_regnamespace(current_schema())"
            " AND p.prokind IN ('f', 'p') AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid"
            " AND d.deptype = 'e')"
        )
    return [_squeezed(found) for found in connection.execute(text(statement)).scalars()]


def _names(columns: Any) -> str:
    return f"({', '.join(str(column) for column in columns)})"


def _without_casts(sql: str) -> str:
    """PostgreSQL reads `role IN ('a')` and shows it with casts, and shows them in other places once it was restored."""
    return _squeezed(re.sub(r"::(character varying|text)(\[\])?", "", sql))


def _squeezed(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).strip()
