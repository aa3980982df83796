"""What two databases are compared by, and what is seen of a difference."""

from __future__ import annotations

import pytest

from scripts.reversal.contents import Contents, differences, schema_differences
from scripts.reversal.databases import Keeper
from scripts.reversal.databases.scratch import scratch_database


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
        ("DELETE FROM api_keys", "api_keys has 0 rows, not 1"),
        ("UPDATE legs SET provider = 'y' WHERE number = 1", "legs has the right number of rows (20), but others in it"),
        ("UPDATE utterances SET text = text || ' '", "utterances has the right number of rows (100), but others in it"),
        ("UPDATE alembic_version SET version_num = '0005'", "the revision is 0005, not 0006"),
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
