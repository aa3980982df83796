"""What somebody may get wrong at three in the morning: one clear line, the right exit code, and nothing is changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from scripts.reversal.databases import Keeper
from tests.parts import lack
from tests.servers import ROOT, clean_environment, free_port
from tests.unit.reversal.conftest import MakeRollback

ALLOW = ("--allow-data-loss", "judged_answers:10")
APPLY = ("apply", "--yes", *ALLOW)


@pytest.fixture
def kind() -> str:
    """Nearly all of it is the same whatever the database is."""
    return "sqlite"


@pytest.fixture(autouse=True)
def _nothing_is_changed(request: pytest.FixtureRequest, keeper: Keeper, store: redis.Redis) -> Iterator[None]:
    before = keeper.read_contents(keeper.url)
    store.set("vocero:cache:1", "x")
    yield
    assert keeper.read_contents(keeper.url) == before
    assert set(store.keys()) == {b"vocero:cache:1"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--to", "9999"), 3, "There is no revision '9999'; this code knows 0001, 0002"),
        (("--to", "000"), 3, "There is no revision '000'"),
        (("--to", "0008"), 6, "The database has schema 0008 already."),
        (("--to", "-9"), 3, "There are no 9 revisions to go back from 0008."),
        (("--to", "base"), 2, "`base` would empty the database"),
        (("--release", "9.9"), 3, "Release 9.9 was not deployed here; known are 1.4.0, 1.5.0."),
        (("--release", "1.5.0"), 6, "The database has schema 0008 already."),
        (("--to", "0007", "--release", "1.4.0"), 2, "Give one target"),
        (("-1", "--to", "-1"), 2, "Give one target"),
        (("--allow-data-loss", "judged_answers"), 2, "write TABLE:ROWS"),
        (("--allow-data-loss", "judged_answers:many"), 2, "write TABLE:ROWS"),
        (("--allow-data-loss", "legs:1", *ALLOW), 2, "--allow-data-loss legs: nothing is lost there"),
        (("--allow-data-loss", "judged_answers:9"), 2, "Data would be lost: 10 in judged_answers."),
        ((), 2, "add --allow-data-loss judged_answers:10"),
    ],
)
def test_a_target_that_is_none(rollback: MakeRollback, arguments: tuple[str, ...], code: int, words: str) -> None:
    answer = rollback("apply", "--yes", *arguments)
    assert (answer.code, answer.output) == (code, "")
    assert words in answer.line


@pytest.mark.parametrize("arguments", [("-1",), ("--to", "-1"), ("--to=-1",), ("0007",), ("--release", "1.4.0")])
def test_one_step_back_can_be_said_in_many_ways(rollback: MakeRollback, arguments: tuple[str, ...]) -> None:
    assert rollback("plan", "--json", *arguments).json["target"] == "0007"


def test_with_nobody_to_ask_yes_has_to_be_given(rollback: MakeRollback) -> None:
    answer = rollback("apply", *ALLOW)
    assert (answer.code, answer.line) == (2, "Nobody can be asked here: --yes is missing.")


def test_a_target_ahead_of_the_database(rollback: MakeRollback, tmp_path: Path) -> None:
    steps = with_a_step(tmp_path, "0009", "0008")
    answer = rollback("apply", "--yes", "--to", "0009", steps=steps)
    assert (answer.code, "that is an upgrade" in answer.line) == (3, True)


def test_migrations_that_branch(rollback: MakeRollback, tmp_path: Path) -> None:
    steps = with_a_step(tmp_path, "0008b", "0007")
    answer = rollback(*APPLY, steps=steps)
    assert (answer.code, answer.line) == (3, "The migrations have 2 heads (0008, 0008b); there has to be one.")


def test_a_database_that_is_newer_than_this_code(rollback: MakeRollback, tmp_path: Path) -> None:
    steps = copied_steps(tmp_path)
    (steps / "0008_judged_answers.py").unlink()
    answer = rollback(*APPLY, steps=steps)
    assert answer.code == 3
    assert "has schema 0008, which this code does not know (its newest is 0007)" in answer.line


def test_a_migration_that_cannot_be_undone(rollback: MakeRollback, tmp_path: Path) -> None:
    steps = copied_steps(tmp_path)
    path = steps / "0008_judged_answers.py"
    path.write_text(path.read_text().replace("IRREVERSIBLE = False", "IRREVERSIBLE = True"))
    answer = rollback(*APPLY, steps=steps)
    assert answer.code == 3
    assert "cannot be undone" in answer.line
    assert "python -m scripts.rollback restore --backup FILE" in answer.line


@pytest.mark.parametrize(
    ("url", "words", "code"),
    [
        ("no url at all", "must be sqlite:///FILE or postgresql", 78),
        ("mysql://root@localhost/vocero", "must be sqlite:///FILE or postgresql", 78),
        ("sqlite:////nowhere/vocero.db", "there is no database file /nowhere/vocero.db", 3),
        ("sqlite://", "SQLite needs a file", 3),
        ("postgresql+psycopg://vocero:hunter2@127.0.0.1:{port}/vocero", "Connection refused", 3),
        ("postgresql+psycopg://vocero:hunter2@no-such-host.invalid/vocero", "no-such-host.invalid", 3),
    ],
)
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_wrong_database_url(rollback: MakeRollback, url: str, words: str, code: int, command: str) -> None:
    answer = rollback(command, VOCERO_DATABASE_URL=url.format(port=free_port()))
    assert (answer.code, answer.output) == (code, "")
    assert words in answer.line
    assert "hunter2" not in answer.line


def test_a_file_that_is_no_database(rollback: MakeRollback, tmp_path: Path) -> None:
    (tmp_path / "letter.db").write_text("Dear reader, " * 1000)
    answer = rollback(*APPLY, VOCERO_DATABASE_URL=f"sqlite:///{tmp_path}/letter.db")
    assert (answer.code, "cannot be read (file is not a database)" in answer.line) == (3, True)


def test_a_database_without_our_schema(rollback: MakeRollback, tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    answer = rollback(*APPLY, VOCERO_DATABASE_URL=f"sqlite:///{tmp_path}/empty.db")
    assert (answer.code, "has no schema of Vocero's" in answer.line) == (3, True)


def test_a_wrong_setting(rollback: MakeRollback) -> None:
    answer = rollback(*APPLY, VOCERO_PORT="many")
    assert (answer.code, answer.line.startswith("VOCERO_PORT: ")) == (78, True)


def test_redis_that_does_not_answer(rollback: MakeRollback) -> None:
    answer = rollback(*APPLY, VOCERO_REDIS_URL=f"redis://:hunter2@127.0.0.1:{free_port()}/0")
    assert answer.code == 3
    assert "Without Redis the service cannot be closed: stop it yourself and give --no-redis." in answer.line
    assert "hunter2" not in answer.line


def test_a_journal_folder_that_cannot_be_written(rollback: MakeRollback) -> None:
    answer = rollback(*APPLY, "--journal-dir", "/proc/rollback")
    assert (answer.code, "the journal cannot be kept there; give --journal-dir" in answer.line) == (3, True)


def test_a_damaged_journal(rollback: MakeRollback, journals: Path) -> None:
    folder = journals / "20260101-000000-0008-to-0007"
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes(b'00000000 ["when","started",null,{}]\n')
    for command in (APPLY, ("resume",), ("restore", "--yes"), ("status",), ("plan",)):
        answer = rollback(*command)
        assert (answer.code, answer.output) == (3, "")
        assert answer.line.startswith(f"The journal is damaged: line 1 of {folder}/journal.jsonl. Nothing was changed")


def test_nothing_to_go_on_with(rollback: MakeRollback) -> None:
    assert rollback("resume").code == 6
    assert rollback("restore", "--yes").code == 2
    assert rollback("restore", "20260101-000000", "--yes").code == 2
    answer = rollback("status")
    assert (answer.code, "There was no rollback yet." in answer.output) == (0, True)


def test_a_rollback_of_another_database_is_not_gone_on_with(
    rollback: MakeRollback, tmp_path: Path, filled_file: Path
) -> None:
    other = tmp_path / "other.db"
    shutil.copyfile(filled_file, other)
    address = f"sqlite:///{other}"
    assert rollback(*APPLY, VOCERO_REDIS_URL=f"redis://127.0.0.1:{free_port()}", VOCERO_DATABASE_URL=address).code == 3


@pytest.mark.parametrize("arguments", [("nonsense", "more"), ("apply", "--drain-seconds", "-1"), ("apply", "--what")])
def test_wrong_usage(rollback: MakeRollback, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        rollback(*arguments)
    assert ended.value.code == 2


def test_the_help_has_every_exit_code(rollback: MakeRollback, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("--help",), ("apply", "--help")):
        with pytest.raises(SystemExit) as ended:
            rollback(*arguments)
        assert ended.value.code == 0
        said = capsys.readouterr().out
        assert [line.split()[0] for line in said.partition("exit codes:")[2].splitlines() if line] == [*"0123456", "78"]


class TestSqliteOnly:
    """What only files have."""

    def test_a_disk_that_is_read_only(self, rollback: MakeRollback, filled_file: Path, tmp_path: Path) -> None:
        with read_only_disk(tmp_path / "disk", filled_file) as disk:
            for command in (APPLY, ("plan",)):
                answer = rollback(*command, VOCERO_DATABASE_URL=f"sqlite:///{disk}/vocero.db")
                assert answer.code == 3, answer.errors

    def test_tables_that_are_not_ours(self, rollback: MakeRollback, filled_file: Path, tmp_path: Path) -> None:

        path = tmp_path / "shared.db"
        shutil.copyfile(filled_file, path)
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE theirs (x INTEGER)")
        connection.close()
        answer = rollback(*APPLY, VOCERO_DATABASE_URL=f"sqlite:///{path}")
        assert (answer.code, "tables that are not Vocero's (theirs)" in answer.errors) == (3, True)

    def test_a_schema_that_somebody_has_changed(
        self, rollback: MakeRollback, filled_file: Path, tmp_path: Path
    ) -> None:

        path = tmp_path / "changed.db"
        shutil.copyfile(filled_file, path)
        with sqlite3.connect(path) as connection:
            connection.execute("DROP INDEX ix_utterances_at")
        connection.close()
        answer = rollback(*APPLY, VOCERO_DATABASE_URL=f"sqlite:///{path}")
        assert answer.code == 3
        assert "not that of revision 0008: missing: index utterances (at) (ix_utterances_at)" in answer.errors


class TestPostgresqlOnly:
    """What needs PostgreSQL's own programs and roles."""

    @pytest.fixture
    def kind(self) -> str:
        return "postgresql"

    def test_no_pg_dump(self, rollback: MakeRollback, tmp_path: Path) -> None:
        for command in (APPLY, ("plan",)):
            answer = rollback(*command, "--pg-bin", str(tmp_path))
            assert answer.code == 3
            assert "pg_dump, pg_restore, psql not found in" in answer.errors + answer.output

    def test_programs_that_are_too_old(self, rollback: MakeRollback, tmp_path: Path) -> None:
        for name in ("pg_dump", "pg_restore", "psql"):
            (tmp_path / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 12.22'\n")
            (tmp_path / name).chmod(stat.S_IRWXU)
        answer = rollback(*APPLY, "--pg-bin", str(tmp_path))
        assert answer.code == 3
        assert "pg_dump is 12, pg_restore is 12, psql is 12, the server 18" in answer.line


def test_it_runs_as_a_module_and_as_a_file() -> None:
    for command in (["-m", "scripts.rollback"], [str(ROOT / "scripts" / "rollback.py")]):
        done = subprocess.run(
            [sys.executable, *command, "plan", "--json"],
            cwd=ROOT if command[0] == "-m" else "/",
            env=clean_environment(VOCERO_DATABASE_URL="sqlite:////nowhere/at/all.db", ELEVENLABS_API_KEY="x"),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == "VOCERO_DATABASE_URL: there is no database file /nowhere/at/all.db.\n"


@contextmanager
def read_only_disk(folder: Path, database: Path) -> Iterator[Path]:
    """A disk with the database, mounted read-only."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "vocero-tests", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        lack("the right to mount a disk")
    try:
        shutil.copyfile(database, folder / "vocero.db")
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def copied_steps(tmp_path: Path) -> Path:
    """Our migrations in a folder of the test's own."""
    folder = tmp_path / "steps"
    folder.mkdir()
    for path in (ROOT / "migrations" / "versions").glob("0*.py"):
        shutil.copy(path, folder)
    return folder


def with_a_step(tmp_path: Path, revision: str, below: str) -> Path:
    """Our migrations and one more."""
    folder = copied_steps(tmp_path)
    (folder / f"{revision}_more.py").write_text(
        f'"""More."""\nrevision, down_revision, branch_labels, depends_on = "{revision}", "{below}", None, None\n'
        "def upgrade():\n    pass\ndef downgrade():\n    pass\n"
    )
    return folder
