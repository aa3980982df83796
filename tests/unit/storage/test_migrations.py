"""Migrations: up, down and up again with data, all or nothing; and the traps of SQLite, shown and then avoided."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import OperationalError

from migrations import __main__ as command_line
from migrations import deployed, runner
from scripts.launcher.waiting import wait_until
from service import __version__
from service.storage import ApiKeys, Database, Deployments, open_database
from service.storage.models import Base
from service.storage.schema import KNOWN_REVISIONS, SCHEMA_REVISION
from tests.servers import ROOT, clean_environment
from tests.unit.storage.conftest import create_on
from tests.unit.storage.test_stairway import shape

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


def test_alembic_finds_nothing_to_generate(database: Database) -> None:
    command.check(runner.configuration(database))


def test_what_alembic_does_not_compare_is_the_same_too(empty_url: str, database: Database) -> None:
    """Check constraints, names and the conditions of indexes: against the tables that the models alone would make."""
    path = make_url(empty_url)
    other = open_database(
        f"sqlite:///{path.database}.models" if database.is_sqlite else create_on(empty_url, template="template1")
    )
    Base.metadata.create_all(other.engine)
    made, meant = shape(database)["tables"], shape(other)["tables"]
    other.close()
    made.pop("alembic_version")
    assert made == meant


def test_the_schema_that_the_service_expects_is_the_newest_step(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/vocero.db")
    steps = ScriptDirectory.from_config(runner.configuration(database))
    assert steps.get_heads() == [SCHEMA_REVISION]
    newest_first = tuple(step.revision for step in steps.walk_revisions())
    assert newest_first[: len(KNOWN_REVISIONS)] == KNOWN_REVISIONS


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
    with pytest.raises(CommandError, match="1 rows would point nowhere"):
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


def test_on_postgresql_a_step_behind_an_open_transaction_holds_up_no_reader_for_longer_than_it_may_wait(
    with_family: str, family: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL queues every new reader behind a waiting ALTER TABLE; without a limit they would wait for ever."""
    database = open_database(with_family, lock_seconds=60, statement_seconds=60)
    if database.is_sqlite:
        database.close()
        pytest.skip("SQLite's readers wait for nobody")
    monkeypatch.setattr("migrations.runner.LOCK_SECONDS", 0.5)
    monkeypatch.setattr("migrations.runner.LOCK_ATTEMPTS", 2)
    monkeypatch.setattr("migrations.runner.LONGEST_PAUSE_SECONDS", 0.1)
    with database.engine.connect() as holder:
        holder.execute(text("SELECT * FROM parents")).all()
        step = threading.Thread(target=expect_to_give_up, args=(with_family, family))
        step.start()
        wait_until(lambda: waits_for_parents(database), 20.0, "the step to stand in the queue")
        began = time.monotonic()
        count(with_family, "parents")
        waited = time.monotonic() - began
        step.join(60)
        assert not step.is_alive()
        assert columns(with_family, "parents") == {"id", "nickname"}, "and the transaction is still open"
    database.close()
    assert waited < 0.5 + 2.0  # for a machine that is busy with other tests


def expect_to_give_up(url: str, family: Path) -> None:
    with pytest.raises(OperationalError, match="lock timeout"):
        runner.downgrade(url, "f1", steps=family)


def waits_for_parents(database: Database) -> bool:
    with database.reading() as session:
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'parents'::regclass"
        return bool(session.execute(text(waiting)).all())


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
    assert capsys.readouterr().out.split("\n")[:3] == ["schema: 0008", "schema: 0008", "schema: none"]


def test_the_command_line_writes_down_which_release_brought_which_schema(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", empty_url)
    for revision in ("0001", "0005", "0008", "0008"):
        assert command_line.main(["upgrade", revision]) == 0
    database = open_database(empty_url)
    made = Deployments(database).list_all()
    assert [(deployment.release, deployment.revision) for deployment in made] == [
        (__version__, "0005"),
        (__version__, "0008"),
    ]
    assert {deployment.node for deployment in made} == {socket.gethostname()}
    assert Deployments(database).revision_of(__version__) == "0008"
    database.close()


def test_a_deployment_that_cannot_be_written_down_does_not_undo_the_upgrade(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", empty_url)
    monkeypatch.setattr("migrations.deployed.BUSY_SECONDS", 0.05)
    runner.upgrade(empty_url)
    database = open_database(empty_url)
    if not database.is_sqlite:
        database.close()
        pytest.skip("PostgreSQL's writers do not wait for each other")
    with database.writing():
        assert not deployed.record(empty_url, "0008")
    database.close()


def test_the_command_line_shows_the_sql_and_changes_nothing(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", empty_url)
    assert command_line.main(["upgrade", "--sql"]) == 0
    assert "CREATE TABLE api_key_limits" in capsys.readouterr().out
    assert runner.current_revision(empty_url) is None
    runner.upgrade(empty_url)
    assert command_line.main(["downgrade", "-1", "--sql"]) == 0
    assert "DROP TABLE judged_answers" in capsys.readouterr().out
    assert runner.current_revision(empty_url) == SCHEMA_REVISION


def test_the_command_line_answers_an_unknown_revision_with_one_line(
    empty_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", empty_url)
    assert command_line.main(["upgrade", "9999"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
