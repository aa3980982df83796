"""What a downgrade throws away, as its steps announce it, and whether somebody has agreed to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scripts.reversal.chain import Revision
from scripts.reversal.contents import Contents
from scripts.reversal.databases import Keeper
from scripts.reversal.failures import UsageError


def count_losses(keeper: Keeper, way: Sequence[Revision], rows: Mapping[str, int]) -> dict[str, int]:
    """How many rows of which table go, and of which column (TABLE.COLUMN) how many values; 0 is told too."""
    tables = {table for revision in way for table in revision.loses if table in rows}
    found = {table: rows[table] for table in sorted(tables)}
    for revision in way:
        for table, columns in revision.loses_columns.items():
            if table in rows and table not in tables:
                found |= {f"{table}.{column}": keeper.count_values(table, column) for column in columns}
    return found


def not_allowed(losses: Mapping[str, int], allowed: Mapping[str, int]) -> dict[str, int]:
    """The losses that nobody agreed to, or not to so many. What is allowed is a bound: a busy table grows meanwhile."""
    return {name: count for name, count in losses.items() if count > allowed.get(name, 0)}


def read_allowed(given: Sequence[str]) -> dict[str, int]:
    """TABLE:ROWS, several with commas, as numbers by name.

    Raises:
        UsageError: it is not written like that.
    """
    found: dict[str, int] = {}
    for part in (part for text in given for part in text.split(",") if part):
        name, _, number = part.rpartition(":")
        if not name or not number.isdecimal():
            raise UsageError(f"--allow-data-loss {part}: write TABLE:ROWS, as the plan does.")
        found[name] = int(number)
    return found


def as_arguments(losses: Mapping[str, int]) -> str:
    """The losses as arguments of the command line."""
    return "".join(f" --allow-data-loss {name}:{count}" for name, count in losses.items() if count)


def unannounced(before: Contents, after: Contents, way: Sequence[Revision]) -> list[str]:
    """Rows that are gone though no step announced it, a line for each table."""
    announced = {table for revision in way for table in revision.loses}
    kept = {table: rows.count for table, rows in before.tables.items() if table not in announced}
    left = {table: after.tables[table].count if table in after.tables else 0 for table in kept}
    return [f"{table} has {left[table]} rows, not {count}" for table, count in kept.items() if left[table] != count]
