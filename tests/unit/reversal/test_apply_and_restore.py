"""A whole rollback on both databases: what goes, what stays, and the way back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import redis

from scripts.reversal import redis_side
from scripts.reversal.databases import Keeper
from scripts.reversal.journal import FILE, Entry
from service.maintenance import MAINTENANCE_KEY, Maintenance
from service.storage import (
    AuditFilter,
    AuditLog,
    Conversations,
    SubjectKind,
    Tombstones,
    open_database,
)
from tests.servers import ROOT, free_port
from tests.unit.reversal.conftest import MakeRollback, only_sqlite
from tests.unit.reversal.filled import BEGAN, fill_redis

ALLOW = ("--allow-data-loss", "judged_answers:10")
APPLY = ("apply", "--yes", *ALLOW)


def test_only_what_was_planned_is_lost(rollback: MakeRollback, keeper: Keeper, store: redis.Redis) -> None:
    fill_redis(store)
    before = keeper.read_contents(keeper.url)
    plan = rollback("plan", "--json").json
    done = rollback(*APPLY)
    assert done.code == 0, done.errors
    after = keeper.read_contents(keeper.url)
    assert (before.revision, after.revision) == ("0008", "0007")
    assert plan["losses"] == {"judged_answers": 10}
    assert before.tables.keys() - after.tables.keys() == {"judged_answers"}
    changed = {table for table, rows in after.tables.items() if rows != before.tables[table]}
    assert changed == {"alembic_version", "audit_entries"}
    assert after.tables["audit_entries"].count == before.tables["audit_entries"].count + 1
    assert list(store.scan_iter(match="vocero:cache:*", count=1000)) == []
    assert store.dbsize() == 100 + 100 + 4
    assert "10 in judged_answers" in done.output


@pytest.mark.long_on("postgresql")
def test_the_audit_tells_who_did_what(rollback: MakeRollback, filled_url: str) -> None:
    assert rollback(*APPLY).code == 0
    database = open_database(filled_url)
    log = AuditLog(database)
    (entry,) = log.search(AuditFilter(action="rollback")).items
    assert "@" in entry.actor
    assert json.loads(entry.before or "") == {"revision": "0008"}
    assert json.loads(entry.after or "") == {"revision": "0007", "lost": {"judged_answers": 10}}
    assert log.verify_chain().problem is None
    database.close()


def test_a_restore_brings_everything_back(rollback: MakeRollback, keeper: Keeper, journals: Path) -> None:
    before = keeper.read_contents(keeper.url)
    assert rollback(*APPLY).code == 0
    restored = rollback("restore", "--yes")
    assert restored.code == 0, restored.errors
    after = keeper.read_contents(keeper.url)
    assert (after.revision, after.schema) == ("0008", before.schema)
    changed = {table for table, rows in after.tables.items() if rows != before.tables[table]}
    assert changed == {"audit_entries", "erasure_tombstones"}  # an entry more; the orders are to be carried out again
    assert len(list(journals.glob("*/replaced.backup"))) == 1
    assert rollback("restore", "--yes").code == 6
    assert rollback(*APPLY).code == 0, "and the next one begins anew"


def test_a_restore_forgets_what_was_erased_since_the_backup(rollback: MakeRollback, filled_url: str) -> None:
    assert rollback(*APPLY).code == 0
    database = open_database(filled_url, busy_seconds=5.0)
    talks, orders = Conversations(database), Tombstones(database)
    orders.add(SubjectKind.CONVERSATION, "conv_00003", requested_at=BEGAN, requested_by="ana")
    orders.add(SubjectKind.USER, "user_1", requested_at=BEGAN.replace(hour=12, minute=10), requested_by="ana")
    talks.erase("conv_00003")
    for number in (1, 4, 7, 10):
        talks.erase(f"conv_{number:05}")
    database.close()

    refused = rollback("restore", "--yes")
    assert (refused.code, "2 in erasure_tombstones" in refused.line) == (2, True)
    restored = rollback("restore", "--yes", "--allow-data-loss", "erasure_tombstones:2")
    assert restored.code == 0, restored.errors
    left = {name for name, _ in talks.subjects(limit=100)}
    assert left == {f"conv_{number:05}" for number in range(20)} - {
        "conv_00003", "conv_00001", "conv_00004", "conv_00007", "conv_00010"
    }  # fmt: skip
    assert talks.get("conv_00013") is not None, "user_1 came back after the order"
    assert len(orders.unapplied()) == 3, "the service's own job looks at all of them again"
    database.close()


@only_sqlite
def test_a_downgrade_that_loses_rows_in_silence_is_found_in_the_rehearsal(
    rollback: MakeRollback, keeper: Keeper, tmp_path: Path, journals: Path
) -> None:
    steps = changed_steps(tmp_path, 'op.drop_table("judged_answers")', 'op.execute("DELETE FROM utterances")')
    before = keeper.read_contents(keeper.url)
    failed = rollback(*APPLY, steps=steps)
    assert failed.code == 1
    assert "utterances has 0 rows, not 100" in failed.errors
    assert keeper.read_contents(keeper.url) == before
    assert list(journals.glob("*/*.backup")) == [], "nothing is left of it"


@only_sqlite
def test_a_downgrade_that_gives_another_schema_is_found_in_the_rehearsal(
    rollback: MakeRollback, keeper: Keeper, tmp_path: Path
) -> None:
    steps = changed_steps(tmp_path, 'op.drop_table("judged_answers")', 'op.execute("CREATE TABLE x (y INTEGER)")')
    before = keeper.read_contents(keeper.url)
    failed = rollback(*APPLY, steps=steps)
    assert failed.code == 1
    assert "does not give the schema of 0007: too much: column x.y" in failed.errors
    assert keeper.read_contents(keeper.url) == before


def test_a_database_that_is_not_what_the_rehearsal_gave_gets_its_backup_back(
    rollback: MakeRollback, keeper: Keeper, store: redis.Redis
) -> None:
    fill_redis(store)
    before = keeper.read_contents(keeper.url)

    def meddle(entry: Entry) -> None:
        """Somebody writes in spite of everything, just behind the commit."""
        if (entry.event, entry.step) == ("begun", "verification"):
            keeper.query(keeper.url, "DELETE FROM legs", {})

    failed = rollback(*APPLY, watch=(meddle,))
    assert failed.code == 1, failed.errors
    assert "legs has 0 rows, not 20" in failed.errors
    assert "the backup was put back" in failed.output
    after = keeper.read_contents(keeper.url)
    assert {table for table, rows in after.tables.items() if rows != before.tables[table]} == {
        "audit_entries", "erasure_tombstones"
    }  # fmt: skip
    assert store.get(MAINTENANCE_KEY) is None
    assert rollback("resume").code == 6


@only_sqlite
def test_half_way_it_may_also_be_given_up(rollback: MakeRollback, keeper: Keeper, store: redis.Redis) -> None:
    before = keeper.read_contents(keeper.url)

    def stop(entry: Entry) -> None:
        if (entry.event, entry.step) == ("begun", "backup"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rollback(*APPLY, watch=(stop,))
    assert store.get(MAINTENANCE_KEY) is not None
    refused = rollback(*APPLY)
    assert (refused.code, "has stopped half-way" in refused.line) == (4, True)
    assert rollback("status").code == 4
    assert rollback("restore", "--yes").code == 0
    assert store.get(MAINTENANCE_KEY) is None
    assert keeper.read_contents(keeper.url) == before
    assert rollback("status").code == 0


@only_sqlite
def test_a_maintenance_of_somebody_else_stays(rollback: MakeRollback, store: redis.Redis) -> None:
    theirs = Maintenance("moving house", "bo@ops", 0.0).as_json()
    store.set(MAINTENANCE_KEY, theirs)
    done = rollback(*APPLY)
    assert done.code == 0
    assert "stays in the maintenance that bo@ops has begun: moving house" in done.output
    assert store.get(MAINTENANCE_KEY) == theirs
    assert rollback("reopen").code == 0
    assert store.get(MAINTENANCE_KEY) is None
    assert rollback("reopen").code == 6


@pytest.mark.long_on("postgresql")
def test_a_backup_of_somebody_else_is_restored(
    rollback: MakeRollback, keeper: Keeper, tmp_path: Path, journals: Path
) -> None:
    backup = tmp_path / "nightly.dump"
    keeper.back_up(backup, lambda _: None)
    before = keeper.read_contents(keeper.url)
    more = ("--allow-data-loss", "api_key_limits:10,conversation_costs:10,erasure_tombstones:1")
    assert rollback("apply", "--yes", "--to", "0004", *ALLOW, *more).code == 0
    refused = rollback("restore", "--backup", str(backup), "--yes")
    assert refused.code == 2
    allowed = refused.line.partition("add ")[2].split()
    restored = rollback("restore", "--backup", str(backup), "--yes", *allowed)
    assert restored.code == 0, restored.errors
    after = keeper.read_contents(keeper.url)
    assert (after.revision, after.schema) == ("0008", before.schema)
    assert backup.exists()
    assert rollback("restore", "--backup", str(tmp_path / "nothing"), "--yes").code == 3


@only_sqlite
def test_the_journal_and_the_backup_are_for_nobody_elses_eyes(rollback: MakeRollback, journals: Path) -> None:
    assert rollback(*APPLY).code == 0
    (folder,) = (path for path in journals.iterdir() if path.is_dir())
    assert {path.name for path in folder.iterdir()} == {FILE, "before.backup", "report.json", "report.txt"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (journals, folder, *folder.iterdir()))


@only_sqlite
def test_a_service_that_is_not_well_keeps_it_closed_until_it_is_left_out(
    rollback: MakeRollback, store: redis.Redis
) -> None:
    answer = rollback(*APPLY, "--service-url", f"http://127.0.0.1:{free_port()}")
    assert answer.code == 4
    assert "does not answer" in answer.errors
    assert "The service stays closed" in answer.output
    assert store.get(MAINTENANCE_KEY) is not None
    assert rollback("resume").code == 4
    assert rollback("resume", "--service-url", "").code == 0
    assert store.get(MAINTENANCE_KEY) is None


@only_sqlite
def test_with_a_redis_that_is_gone_for_good_it_goes_on_without(rollback: MakeRollback) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(redis_side, "clear_caches", lose_it)
        assert rollback(*APPLY).code == 4
    assert rollback("resume", VOCERO_REDIS_URL=nowhere).code == 4
    done = rollback("resume", "--no-redis", VOCERO_REDIS_URL=nowhere)
    assert done.code == 0, done.errors
    assert "Redis was not cleaned (--no-redis)." in done.output
    assert "10 in judged_answers" in done.output


def lose_it(*_: object) -> int:
    raise redis.ConnectionError("the server went away")


def test_no_password_is_told_to_anybody(
    rollback: MakeRollback, filled_url: str, kind: str, pg_bin: Path, journals: Path, tmp_path: Path
) -> None:
    """Neither in what is said or written down, nor in an argument, which every user of the machine can read."""
    url = filled_url.replace("postgres@", "postgres:canary-hunter2@")
    programs, seen = tmp_path / "programs", tmp_path / "arguments"
    programs.mkdir()
    for name in ("pg_dump", "pg_restore", "psql"):
        (programs / name).write_text(f'#!/bin/sh\necho "$0 $@" >> {seen}\nexec {pg_bin}/{name} "$@"\n')
        (programs / name).chmod(0o700)
    said = ""
    for command in (("plan",), ("plan", "--json"), APPLY, ("status",), ("restore", "--yes", "--json")):
        answer = rollback(*command, "--pg-bin", str(programs), VOCERO_DATABASE_URL=url)
        assert answer.code == 0, answer.errors
        said += answer.output + answer.errors
    written = b"".join(path.read_bytes() for path in journals.rglob("*") if path.is_file())
    assert "canary" not in said
    assert b"canary" not in written
    if kind == "postgresql":
        assert "pg_dump" in seen.read_text()
        assert "canary" not in seen.read_text()


@only_sqlite
def test_old_backups_are_forgotten(rollback: MakeRollback, journals: Path) -> None:
    assert rollback(*APPLY).code == 0
    (backup,) = journals.glob("*/before.backup")
    os.utime(backup, (0, 0))
    assert rollback("apply", "--yes", "--allow-data-loss", "api_key_limits:10").code == 0
    assert not backup.exists()
    assert len(list(journals.glob("*/before.backup"))) == 1


def changed_steps(tmp_path: Path, old: str, addition: str) -> Path:
    """Our migrations, with something more in a downgrade."""
    folder = tmp_path / "steps"
    folder.mkdir()
    for path in (ROOT / "migrations" / "versions").glob("0*.py"):
        text = path.read_text()
        (folder / path.name).write_text(text.replace(f"    {old}\n", f"    {addition}\n    {old}\n"))
    return folder
