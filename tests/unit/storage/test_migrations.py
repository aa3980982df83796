"""Migrations: up, down and up again with data, all or nothing; and the traps of SQLite, shown and then avoided."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import OperationalError

from migrations import __main__ as command_line
from migrations import runner
from service.storage import ApiKeys, Database, open_database
from service.storage.models import Base
from service.storage.schema import SCHEMA_REVISION
from tests.servers import ROOT, clean_environment

FAMILY = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "f1", None, None, None

def upgrade():
    op.create_table("parents", sa.Column("id", sa.Integer, primary_key=True))
    op.create_table(
        "children",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("parent_id", sa.Integer, nullable=False),
        sa.ForeignKeyConstraint(["parent_id"], ["parents.id"], ondelete="CASCADE", name="fk_children_parents"),
    )

def downgrade():
    op.drop_table("children")
    op.drop_table("parents")
"""
NICKNAME = """
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels, depends_on = "f2", "f1", None, None

def upgrade():
    with op.batch_alter_table("parents") as table:
        table.add_column(sa.Column("nickname", sa.String(10)))

def downgrade():
    with op.batch_alter_table("parents") as table:
        table.drop_column("nickname")
"""


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """Steps of a schema with parents and children; the second one changes the parents' table."""
    folder = tmp_path / "steps"
    folder.mkdir()
    (folder / "f1.py").write_text(FAMILY)
    (folder / "f2.py").write_text(NICKNAME)
    return folder


@pytest.fixture
def with_family(empty_url: str, family: Path) -> str:
    """A database at the second step, with one parent and a hundred children."""
    runner.upgrade(empty_url, steps=family)
    database = open_database(empty_url)
    with database.writing() as session:
        session.execute(text("INSERT INTO parents (id, nickname) VALUES (1, 'eve')"))
        for number in range(100):
            session.execute(text("INSERT INTO children (id, parent_id) VALUES (:id, 1)"), {"id": number})
    database.close()
    return empty_url


def count(url: str, table: str) -> int:
    database = open_database(url)
    with database.reading() as session:
        found: int = session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
    database.close()
    return found


def columns(url: str, table: str) -> set[str]:
    database = open_database(url)
    with database.engine.connect() as connection:
        found = {column["name"] for column in inspect(connection).get_columns(table)}
    database.close()
    return found


def test_the_models_and_the_migrations_make_the_same_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_schema_that_the_service_expects_is_the_newest_step(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/vocero.db")
    steps = ScriptDirectory.from_config(runner.configuration(database))
    assert steps.get_heads() == [SCHEMA_REVISION]


def test_up_down_and_up_again_with_data(empty_url: str) -> None:
    runner.upgrade(empty_url)
    database = open_database(empty_url)
    _, key = ApiKeys(database).create("shop")
    database.close()

    runner.upgrade(empty_url)
    assert ApiKeys(database).verify(key) is not None, "a second upgrade changes nothing"
    database.close()

    runner.downgrade(empty_url, "base")
    assert runner.current_revision(empty_url) is None
    with database.engine.connect() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    database.close()

    runner.upgrade(empty_url)
    assert runner.current_revision(empty_url) == SCHEMA_REVISION
    assert ApiKeys(database).list_all() == []
    database.close()


def test_with_foreign_keys_on_a_batch_step_on_a_parent_deletes_its_children(tmp_path: Path) -> None:
    """The trap itself, in the four statements that a batch step is made of."""
    engine = create_engine(f"sqlite:///{tmp_path}/trap.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        connection.exec_driver_sql("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("CREATE TABLE children (parent_id REFERENCES parents (id) ON DELETE CASCADE)")
        connection.exec_driver_sql("INSERT INTO parents VALUES (1)")
        connection.exec_driver_sql("INSERT INTO children VALUES (1)")
        connection.exec_driver_sql("CREATE TABLE new_parents (id INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO new_parents SELECT id FROM parents")
        connection.exec_driver_sql("DROP TABLE parents")
        connection.exec_driver_sql("ALTER TABLE new_parents RENAME TO parents")
        left = connection.exec_driver_sql("SELECT count(*) FROM children").scalar_one()
    engine.dispose()
    assert left == 0


def test_a_batch_step_on_a_parent_keeps_its_children(with_family: str, family: Path) -> None:
    runner.downgrade(with_family, "f1", steps=family)
    assert columns(with_family, "parents") == {"id"}
    assert count(with_family, "children") == 100
    runner.upgrade(with_family, steps=family)
    assert columns(with_family, "parents") == {"id", "nickname"}
    assert count(with_family, "children") == 100


def test_a_step_that_leaves_rows_pointing_nowhere_is_taken_back(tmp_path: Path, family: Path) -> None:
    url = f"sqlite:///{tmp_path}/vocero.db"
    runner.upgrade(url, "f1", steps=family)
    careless = NICKNAME.replace(
        "def upgrade():", 'def upgrade():\n    op.execute("INSERT INTO children VALUES (7, 12345)")'
    )
    (family / "f2.py").write_text(careless)
    with pytest.raises(RuntimeError, match="1 rows would point nowhere"):
        runner.upgrade(url, steps=family)
    assert runner.current_revision(url) == "f1"
    assert count(url, "children") == 0
    assert columns(url, "parents") == {"id"}


def test_a_downgrade_that_fails_half_way_changes_nothing_and_can_be_tried_again(with_family: str, family: Path) -> None:
    (family / "f2.py").write_text(NICKNAME + '    raise RuntimeError("half-way")\n')
    with pytest.raises(RuntimeError, match="half-way"):
        runner.downgrade(with_family, "f1", steps=family)
    assert runner.current_revision(with_family) == "f2"
    assert columns(with_family, "parents") == {"id", "nickname"}
    assert count(with_family, "children") == 100

    (family / "f2.py").write_text(NICKNAME)
    runner.downgrade(with_family, "f1", steps=family)
    assert runner.current_revision(with_family) == "f1"
    assert columns(with_family, "parents") == {"id"}


def test_two_nodes_that_upgrade_at_once_both_end_well(empty_url: str) -> None:
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "migrations", "upgrade"],
            env=clean_environment(VOCERO_DATABASE_URL=empty_url),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [node.communicate(timeout=60)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert runner.current_revision(empty_url) == SCHEMA_REVISION


def test_on_postgresql_a_step_behind_an_open_transaction_steps_aside_and_is_tried_again(
    with_family: str, family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(with_family)
    if database.is_sqlite:
        database.close()
        pytest.skip("SQLite's readers hold up no writer")
    pauses: list[float] = []
    with database.engine.connect() as reader:
        reader.execute(text("SELECT * FROM parents")).all()

        def end_the_transaction(seconds: float) -> None:
            pauses.append(seconds)
            reader.rollback()

        monkeypatch.setattr("migrations.runner.time.sleep", end_the_transaction)
        runner.downgrade(with_family, "f1", steps=family)
    database.close()
    assert len(pauses) == 1
    assert columns(with_family, "parents") == {"id"}


def test_an_upgrade_that_never_gets_its_lock_gives_up_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/vocero.db"
    monkeypatch.setattr("migrations.runner.BUSY_SECONDS", 0.05)
    monkeypatch.setattr("migrations.runner.LONGEST_PAUSE_SECONDS", 0.05)
    database = open_database(url)
    with database.writing(), pytest.raises(OperationalError, match="locked"):
        runner.upgrade(url)
    database.close()
    assert runner.current_revision(url) is None


def test_a_folder_with_a_percent_sign_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "50% off"
    folder.mkdir()
    (folder / "f1.py").write_text(FAMILY)
    url = f"sqlite:///{tmp_path}/vocero.db"
    runner.upgrade(url, steps=folder)
    assert runner.current_revision(url) == "f1"


def test_the_command_line_goes_up_and_down_and_says_where_it_is(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", empty_url)
    assert command_line.main(["upgrade"]) == 0
    assert command_line.main(["current"]) == 0
    assert command_line.main(["downgrade", "base"]) == 0
    assert capsys.readouterr().out.split("\n")[:3] == ["schema: 0001", "schema: 0001", "schema: none"]


def test_the_command_line_answers_an_unknown_revision_with_one_line(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", empty_url)
    assert command_line.main(["upgrade", "9999"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
