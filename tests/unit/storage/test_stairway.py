"""Every step, up and down and up again, with rows in every table: what it says that it loses, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from alembic.script import Script, ScriptDirectory
from sqlalchemy import inspect, text

from migrations import runner
from service.storage import Database, open_database
from tests.unit.storage import rows

DIRECTORY = ScriptDirectory.from_config(runner.configuration(None))
STEPS = list(DIRECTORY.walk_revisions())[::-1]


@pytest.fixture(params=STEPS, ids=lambda step: step.revision)
def step(request: pytest.FixtureRequest) -> Script:
    """Each step in turn."""
    found: Script = request.param
    return found


@pytest.fixture
def stairs(empty_url: str) -> Iterator[Database]:
    """A database without a table, with foreign keys on, as the service has it."""
    database = open_database(empty_url)
    yield database
    database.close()


def below(step: Script) -> str:
    return str(step.down_revision or "base")


def content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    with database.engine.connect() as connection:
        return rows.content(connection)


def shape(database: Database) -> dict[str, Any]:
    """Tables with everything that hangs on them, triggers and functions."""
    with database.engine.connect() as connection:
        inspector = inspect(connection)
        tables = {
            name: {
                "columns": [{**column, "type": str(column["type"])} for column in inspector.get_columns(name)],
                "key": inspector.get_pk_constraint(name),
                "indexes": sorted(str(sorted(index.items())) for index in map(plain, inspector.get_indexes(name))),
                "unique": inspector.get_unique_constraints(name),
                "foreign": inspector.get_foreign_keys(name),
                "checks": sorted(inspector.get_check_constraints(name), key=lambda check: str(check["name"])),
            }
            for name in inspector.get_table_names()
        }
        if database.is_sqlite:
            query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
        else:
            query = (
                "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal UNION ALL"
                " SELECT proname, pg_get_functiondef(oid) FROM pg_proc"
                " WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2"
            )
        return {"tables": tables, "more": [tuple(row) for row in connection.execute(text(query))]}


def names(table: dict[str, Any]) -> list[str]:
    return [column["name"] for column in table["columns"]]


def plain(index: Any) -> dict[str, Any]:
    """An index without objects that are equal to nothing but themselves: the condition of a partial one is its text."""
    return {**index, "dialect_options": {name: str(option) for name, option in index["dialect_options"].items()}}


def test_a_step_says_what_it_is_for_and_what_undoing_it_loses(step: Script) -> None:
    module: ModuleType = step.module
    paragraphs = (module.__doc__ or "").strip().split("\n\n")
    assert len(paragraphs) >= 2
    assert paragraphs[1].startswith("Undoing it loses ")
    assert isinstance(module.LOSES, tuple)
    assert all(isinstance(table, str) for table in module.LOSES)
    assert all(isinstance(columns, tuple) for columns in module.LOSES_COLUMNS.values())
    assert isinstance(module.IRREVERSIBLE, bool)
    for table in module.LOSES:
        assert table not in module.LOSES_COLUMNS


def test_the_steps_are_one_straight_line() -> None:
    assert len(DIRECTORY.get_heads()) == 1
    assert [step.revision for step in STEPS] == [f"{number:04}" for number in range(1, len(STEPS) + 1)]
    assert [step.down_revision for step in STEPS] == [None, *(step.revision for step in STEPS[:-1])]


def test_there_are_rows_for_every_table(database: Database) -> None:
    with database.writer.begin() as connection:
        rows.fill(connection, rows.tables(connection))
    assert [name for name, found in content(database).items() if len(found) < 2] == []


def test_a_step_down_loses_what_it_says_and_nothing_else_and_up_again_everything_works(
    empty_url: str, stairs: Database, step: Script
) -> None:
    runner.upgrade(empty_url, step.revision)
    made = shape(stairs)
    with stairs.writer.begin() as connection:
        rows.fill(connection, rows.tables(connection))
    before = content(stairs)
    stairs.close()

    runner.downgrade(empty_url, below(step))
    after = content(stairs)
    lost = {name for name in before if len(after.get(name, [])) < len(before[name])}
    assert lost == set(step.module.LOSES)
    left = shape(stairs)["tables"]
    columns_lost = {
        name: tuple(column for column in names(made["tables"][name]) if column not in names(left[name]))
        for name in after
    }
    assert {name: columns for name, columns in columns_lost.items() if columns} == dict(step.module.LOSES_COLUMNS)
    untouched = set(after) - set(step.module.LOSES) - set(step.module.LOSES_COLUMNS)
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
    assert broken_references(stairs) == []
    stairs.close()

    runner.upgrade(empty_url, step.revision)
    assert shape(stairs) == made
    again = content(stairs)
    assert {name: again[name] for name in untouched} == {name: before[name] for name in untouched}
    with stairs.writer.begin() as connection:
        rows.fill(connection, rows.tables(connection), set(step.module.LOSES))
    assert content(stairs) == before
    assert broken_references(stairs) == []


def test_a_step_makes_the_same_on_a_new_database_and_on_one_with_rows(
    empty_url: str, stairs: Database, step: Script
) -> None:
    if step.down_revision is None:
        pytest.skip("there are no rows before the first step")
    runner.upgrade(empty_url, below(step))
    with stairs.writer.begin() as connection:
        rows.fill(connection, rows.tables(connection))
    before = content(stairs)
    stairs.close()
    runner.upgrade(empty_url, step.revision)
    grown = shape(stairs)
    assert {name: found for name, found in content(stairs).items() if name in before} == before
    stairs.close()
    runner.downgrade(empty_url, "base")
    assert set(shape(stairs)["tables"]) <= {"alembic_version"}
    assert shape(stairs)["more"] == []
    stairs.close()
    runner.upgrade(empty_url, step.revision)
    assert shape(stairs) == grown


def broken_references(database: Database) -> list[Any]:
    """Rows that point nowhere. PostgreSQL checks its references itself as it goes; SQLite was told not to meanwhile."""
    if not database.is_sqlite:
        return []
    with database.engine.connect() as connection:
        return list(connection.exec_driver_sql("PRAGMA foreign_key_check"))
