"""The SQL of a downgrade, before it is run.

The key decision: for PostgreSQL it is Alembic's offline mode, which needs no database. SQLite's batch steps have to
look at the table that they make anew, so there the downgrade is really run, on a database made from nothing in a
temporary folder, and its statements are written down.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from migrations import runner

_CHANGES = re.compile(r"\s*(CREATE|ALTER|DROP|INSERT|UPDATE|DELETE|REVOKE|GRANT)\b", re.IGNORECASE)


def preview(current: str, target: str, *, is_sqlite: bool, steps: Path | None) -> list[str]:
    """The statements in their order, or a line that says why they cannot be told."""
    try:
        if is_sqlite:
            return _traced(current, target, steps)
        return _lines(runner.downgrade_sql(current, target, dialect_name="postgresql", steps=steps))
    except Exception as exc:  # noqa: BLE001 (a step may do anything; the plan does without its SQL then)
        return [f"-- cannot be told beforehand: {type(exc).__name__}: {str(exc).partition(chr(10))[0]}"]


def _lines(sql: str) -> list[str]:
    return [line.rstrip() for line in sql.split("\n") if line.strip()]


def _traced(current: str, target: str, steps: Path | None) -> list[str]:
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if _CHANGES.match(statement) and "alembic_version" not in statement:
            found.append(statement.strip() + ";")

    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/preview.sqlite3"
        runner.upgrade(url, current, steps=steps)
        event.listen(Engine, "before_cursor_execute", note)
        try:
            runner.downgrade(url, target, steps=steps)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
    return _lines("\n".join(found))
