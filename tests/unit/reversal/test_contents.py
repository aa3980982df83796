"""What two databases are compared by, and what is seen of a difference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.reversal.contents import Contents, differences, schema_differences
from scripts.reversal.databases import Keeper
from scripts.reversal.databases.scratch import scratch_database
from scripts.reversal.failures import StepError


def test_a_backup_that_is_restored_is_equal_to_the_letter(keeper: Keeper, tmp_path) -> None:
    found = keeper.read_contents(keeper.url)
    keeper.back_up(tmp_path / "x.backup", lambda _: None)
    with scratch_database(keeper, "test") as scratch:
        keeper.restore(tmp_path / "x.backup", scratch, lambda _: None)
        copy = keeper.read_contents(scratch)
        assert differences(found, copy) == []
        assert copy == found
    assert Contents.from_json(found.as_json()) == found


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM api_keys", "api_keys has 0 rows, not 11"),
        ("UPDATE legs SET provider = 'y' WHERE number = 1", "legs has the right number of rows (20), but others in it"),
        ("UPDATE utterances SET text = text || ' '", "utterances has the right number of rows (100), but others in it"),
        ("UPDATE alembic_version SET version_num = '0007'", "the revision is 0007, not 0008"),
        ("DROP INDEX ix_utterances_at", "missing: index utterances (at) (ix_utterances_at)"),
        ("ALTER TABLE legs ADD COLUMN more INTEGER", "too much: column legs.more integer null"),
        ("DROP TABLE job_runs", "missing: table job_runs"),
        ("CREATE TABLE theirs (x INTEGER)", "too much: table theirs"),
    ],
)
def test_a_difference_is_seen_and_named(keeper: Keeper, statement: str, words: str) -> None:
    before = keeper.read_contents(keeper.url)
    keeper.query(keeper.url, statement, {})
    assert words in differences(before, keeper.read_contents(keeper.url))


def test_the_order_of_rows_is_no_difference(keeper: Keeper) -> None:
    before = keeper.read_contents(keeper.url)
    keeper.query(keeper.url, "UPDATE legs SET provider = 'y' WHERE conversation_id < 'conv_00010'", {})
    keeper.query(keeper.url, "UPDATE legs SET provider = 'elevenlabs'", {})
    assert differences(before, keeper.read_contents(keeper.url)) == []


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_backup_that_breaks_off_changes_nothing(keeper: Keeper, tmp_path: Path, share: float) -> None:
    """The trap: psql commits what it got when its input ends early."""
    backup = tmp_path / "x.backup"
    keeper.back_up(backup, lambda _: None)
    before = keeper.read_contents(keeper.url)
    os.truncate(backup, int(backup.stat().st_size * share))
    with pytest.raises(StepError, match=r"pg_restore ended with code|psql ended with code"):
        keeper.restore(backup, keeper.url, lambda _: None)
    assert keeper.read_contents(keeper.url) == before


def test_triggers_and_functions_are_part_of_the_schema(keeper: Keeper) -> None:
    lines = keeper.read_contents(keeper.url).schema
    assert [line for line in lines if "TRIGGER audit_entries_refuse_change" in line]
    assert schema_differences(lines, lines) == []


def test_a_lock_is_held_until_it_is_let_go_of(keeper: Keeper, filled_url: str, pg_bin, tmp_path) -> None:
    keeper.lock()
    keeper.lock()  # a second time by the same one changes nothing
    keeper.hold_writers(1.0, lambda _: None)
    keeper.hold_writers(1.0, lambda _: None)
    keeper.check_hold()
    keeper.close()
    keeper.close()
    keeper.query(filled_url, "UPDATE legs SET provider = 'z'", {})


def test_a_scratch_database_that_comes_into_being_behind_our_back_is_replaced(
    keeper: Keeper, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was killed had asked for it, and the server makes it after we looked. Found by the soak."""
    if kind == "sqlite":
        return  # a file is made at once
    keeper.make_scratch("vocero_check_late")
    drop, looks = keeper.drop_scratch, []

    def see_nothing_at_first(name: str) -> None:
        looks.append(name)
        if len(looks) > 1:
            drop(name)

    monkeypatch.setattr(keeper, "drop_scratch", see_nothing_at_first)
    url = keeper.make_scratch("vocero_check_late")
    assert len(looks) == 2
    tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    assert list(keeper.query(url, tables, {})[0]) == [0]
    drop("vocero_check_late")
