"""The plan: it tells everything, changes nothing, and its last line is what to type."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import redis

from scripts.launcher.waiting import wait_until
from scripts.reversal import commands, confirming
from scripts.reversal.databases import Keeper
from scripts.reversal.options import COMMANDS, Options, read_options
from service.maintenance import MAINTENANCE_KEY, Maintenance, MaintenanceWatch
from service.pool_reports import PoolReporter, list_reports
from tests.unit.reversal.conftest import MakeRollback, only_sqlite
from tests.unit.reversal.filled import fill_redis
from tests.unit.reversal.test_closing import Room


def test_it_tells_what_is_lost_and_kept_and_what_to_type(
    rollback: MakeRollback, keeper: Keeper, store: redis.Redis, journals: Path
) -> None:
    fill_redis(store)
    before = keeper.read_contents(keeper.url), {key: store.dump(key) for key in store.scan_iter()}
    answer = rollback()
    said = " ".join(answer.output.split())
    assert (answer.code, answer.errors) == (0, "")
    assert "Nothing has been changed." in said
    assert "schema 0008 now, 0007 afterwards" in said
    assert "0008 -> 0007 How sampled answers sounded, kept with their conversation." in said
    assert "Nothing can judge them again, since no sound is kept" in said
    assert "judged_answers 10 rows, and the table" in said
    assert "DROP TABLE judged_answers;" in said
    assert "vocero:cache: 300 cleared" in said
    assert "vocero:session: 100 stays" in said
    assert "keys of others 101 stay" in said
    assert "workers none report to Redis" in said
    assert "In the way nothing" in said
    assert not journals.exists()
    assert (keeper.read_contents(keeper.url), {key: store.dump(key) for key in store.scan_iter()}) == before

    command = shlex.split(answer.output.strip().splitlines()[-1])
    assert command[:3] == ["python", "-m", "scripts.rollback"]
    assert rollback(*command[3:], "--yes").code == 0


def test_it_tells_the_same_to_machines(rollback: MakeRollback, store: redis.Redis) -> None:
    fill_redis(store)
    plan = rollback("--json", "--to", "0004").json
    assert (plan["facts"]["revision"], plan["target"], plan["head"], plan["is_refused"]) == (
        "0008", "0004", "0008", False
    )  # fmt: skip
    assert [step["name"] for step in plan["way"]] == ["0008", "0007", "0006", "0005"]
    assert plan["losses"] == {
        "api_key_limits": 10, "conversation_costs": 10, "erasure_tombstones": 1, "job_runs": 0, "judged_answers": 10,
        "provider_deletions": 0,
    }  # fmt: skip
    assert plan["rows"]["utterances"] == 100
    assert plan["keys"]["keys"]["vocero:cache:"] == 300
    assert [line for line in plan["sql"] if "DROP TABLE" in line] == [
        "DROP TABLE judged_answers;", "DROP TABLE api_key_limits;", "DROP TABLE conversation_costs;",
        "DROP TABLE job_runs;", "DROP TABLE provider_deletions;", "DROP TABLE erasure_tombstones;",
    ]  # fmt: skip


@only_sqlite
def test_workers_of_another_version_and_who_talks_are_seen(rollback: MakeRollback, store: redis.Redis) -> None:
    room = Room(3)
    reporter = PoolReporter(
        store, node="node-1", worker="1", pools=list, maintenance=MaintenanceWatch(room), conversations=lambda: 3
    )
    reporter.start()
    try:
        wait_until(lambda: len(list_reports(store)) == 1)
        said = " ".join(rollback().output.split())
        assert "workers 1 on one node, version 0.1.0, with 3 conversations" in said
        assert "30 s for conversations to end, then about" in said
    finally:
        reporter.close()


@only_sqlite
def test_a_maintenance_that_was_forgotten_is_in_the_way(rollback: MakeRollback, store: redis.Redis) -> None:
    store.set(MAINTENANCE_KEY, Maintenance("moving house", "bo@ops", 0.0).as_json())
    assert "The service is in a maintenance that bo@ops began: moving house." in " ".join(rollback().output.split())
    said = " ".join(rollback("status").output.split())
    assert "The service is CLOSED, for" in said
    assert "by bo@ops" in said
    assert "python -m scripts.rollback reopen" in said


def test_without_redis_it_says_so_and_the_next_command_too(rollback: MakeRollback, pg_bin: Path) -> None:
    answer = rollback("--no-redis")
    said = " ".join(answer.output.split())
    assert answer.code == 0
    assert "Redis is left alone (--no-redis): stop the service yourself" in said
    assert f"--allow-data-loss judged_answers:10 --no-redis --pg-bin {pg_bin}" in answer.output
    assert rollback("apply", "--yes", "--allow-data-loss", "judged_answers:10", "--no-redis").code == 0


@only_sqlite
def test_on_a_terminal_the_target_has_to_be_typed(rollback: MakeRollback, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def ask(_: Options, question: str, answer: str) -> None:
        asked.append((question, answer))

    monkeypatch.setattr(confirming, "is_terminal", lambda: True)
    monkeypatch.setattr(commands, "is_terminal", lambda: True)
    monkeypatch.setattr(commands, "confirm", ask)
    answer = rollback("apply", "--allow-data-loss", "judged_answers:10")
    assert answer.code == 0
    assert asked == [("\nThe service is closed meanwhile.", "0007")]
    assert "Plan of a rollback" in answer.errors


@only_sqlite
def test_columns_that_go_are_counted_by_their_values(rollback: MakeRollback, filled_url: str, tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    steps.mkdir()
    (steps / "c1.py").write_text(COLUMNS.format(revision="0007", below="None", loses="{}"))
    (steps / "c2.py").write_text(COLUMNS.format(revision="0008", below='"0007"', loses='{"utterances": ("text",)}'))
    plan = rollback("--json", steps=steps).json
    assert plan["losses"] == {"utterances.text": 100}
    answer = rollback("apply", "--yes", steps=steps)
    assert answer.line == (
        "Data would be lost: 100 in utterances.text. If that is meant, add --allow-data-loss utterances.text:100"
    )


COLUMNS = """'''A step.'''
revision, down_revision, branch_labels, depends_on = "{revision}", {below}, None, None
LOSES_COLUMNS = {loses}
def upgrade(): ...
def downgrade(): ...
"""


def test_a_plan_with_no_command_is_the_default() -> None:
    assert read_options([]).command == "plan"
    assert read_options(["-2"]).target == "-2"
    assert {read_options([name]).command for name in COMMANDS} == set(COMMANDS)
