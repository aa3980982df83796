"""The SQL of the steps, as it is written down without a database, and what a linter for PostgreSQL makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import Script
from alembic.util import CommandError
from sqlalchemy import text

from migrations import runner
from service.storage import Database, check_schema, open_database
from tests.parts import require
from tests.servers import ROOT
from tests.unit.storage.test_stairway import STEPS, below, shape


def squawk(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("squawk")
    require("the program squawk", program.exists(), "pip install -e .[test]")
    command = [program, "--config", "migrations/squawk.toml", "--reporter", "gcc", path]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.revision)
def test_the_linter_has_nothing_to_say_about_a_step_up(tmp_path: Path, step: Script) -> None:
    path = tmp_path / "up.sql"
    path.write_text(runner.upgrade_sql(below(step), step.revision, dialect_name="postgresql"))
    checked = squawk(path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_linter_would_speak_up(tmp_path: Path) -> None:
    path = tmp_path / "careless.sql"
    path.write_text("ALTER TABLE legs ADD COLUMN model text NOT NULL; CREATE INDEX ix ON legs (model);")
    checked = squawk(path)
    assert checked.returncode != 0
    for rule in ("adding-required-field", "require-concurrent-index-creation", "require-lock-timeout"):
        assert rule in checked.stdout


def test_the_sql_as_it_is_written_down_makes_what_the_steps_make(empty_url: str, kind: str) -> None:
    written = runner.upgrade_sql("base", "head", dialect_name=kind)
    database = open_database(empty_url)
    execute_script(database, written)
    check_schema(database)
    made = shape(database)
    execute_script(database, runner.downgrade_sql("0008", "base", dialect_name=kind))
    assert set(shape(database)["tables"]) <= {"alembic_version"}
    database.close()
    runner.upgrade(empty_url)
    assert shape(database) == made
    database.close()


def execute_script(database: Database, script: str) -> None:
    """What `sqlite3` and `psql` do with it: it says itself where its transaction begins and ends."""
    if database.is_sqlite:
        connection = database.engine.raw_connection()
        connection.driver_connection.executescript(script)  # type: ignore[union-attr]  # sqlite3's
        connection.close()
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(script.replace(":", "\\:")))


def test_what_is_written_for_postgresql_waits_for_no_lock_and_runs_for_no_time_without_end() -> None:
    for written in (
        runner.upgrade_sql("0006", "0007", dialect_name="postgresql"),
        runner.downgrade_sql("0008", "0006", dialect_name="postgresql"),
    ):
        lines = [line for line in written.splitlines() if line]
        assert lines[:4] == [
            "BEGIN;",
            "SET LOCAL lock_timeout = '1000ms';",
            "SET LOCAL statement_timeout = '600000ms';",
            "SELECT pg_advisory_xact_lock(8463001);",
        ]
        assert lines[-1] == "COMMIT;"


@pytest.mark.parametrize(("start", "end"), [("0009", "head"), ("base", "0009")])
def test_an_unknown_revision_is_refused(start: str, end: str) -> None:
    with pytest.raises(CommandError, match="0009"):
        runner.upgrade_sql(start, end, dialect_name="postgresql")
