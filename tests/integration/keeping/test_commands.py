"""What operators type: `scripts.erase`, `scripts.retention`, `scripts.conversations`, with their exit codes."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from scripts import conversations, erase, retention
from service.keeping.jobs import LEASE_SECONDS
from service.maintenance import MAINTENANCE_KEY, Maintenance
from service.storage import (
    AuditFilter,
    AuditLog,
    ConversationCosts,
    Conversations,
    Database,
    JobRuns,
    SubjectKind,
    Tombstones,
)
from service.storage.conversation_export import as_document, as_text
from service.storage.tombstone_upkeep import TombstoneUpkeep
from service.variables import OURS
from tests.integration.keeping.conftest import Break, Talk
from tests.integration.keeping.kept import NOON, ids, keep
from tests.servers import free_port

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, database: Database, redis_url: str, sandbox_url: str) -> None:
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VOCERO_DATABASE_URL", database.engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("VOCERO_REDIS_URL", redis_url)
    monkeypatch.setenv("ELEVENLABS_BASE_URL", sandbox_url)
    monkeypatch.setenv("ELEVENLABS_API_KEY", "sandbox-key")


@pytest.fixture
def said(capfdbinary: pytest.CaptureFixture[bytes]) -> Said:
    """Run a command: its exit code, and what it says on both outputs."""

    def run(command: Any, *arguments: str) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        try:
            code = command.main(list(arguments))
        except SystemExit as exc:
            code = exc.code
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


@pytest.fixture
def now(database: Database) -> Any:
    return TombstoneUpkeep(database).now()


# --- erase ---------------------------------------------------------------------------------------------------------


def test_a_conversation_is_erased_and_the_service_does_the_rest(
    database: Database, said: Said, now: Any, talk: Talk, known_there: Callable[[str], bool]
) -> None:
    conversation_id = talk()
    keep(database, conversation_id, at=now - HOUR)
    code, out, err = said(erase, "conversation", conversation_id, "--yes")
    assert (code, err) == (0, "")
    assert out == "Erased 1 conversations from the database.\nErased 0 keys from Redis.\n"
    assert ids(database) == set()
    assert known_there(conversation_id)
    assert said(retention, "run")[0] == 0
    assert not known_there(conversation_id)
    [entry] = AuditLog(database).search(AuditFilter(action="erasure.requested")).items
    assert entry.actor.endswith("(command line)")


def test_who_waits_is_told_when_elevenlabs_has_confirmed(
    database: Database,
    said: Said,
    now: Any,
    talk: Talk,
    known_there: Callable[[str], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(erase, "SETTLE_SECONDS", 0.7)
    first, second = talk(), talk()
    for conversation_id in (first, second):
        keep(database, conversation_id, at=now - HOUR, user_id="ana")
    code, out, err = said(erase, "user", "ana", "--yes", "--wait", "20")
    assert (code, err) == (0, "")
    assert out.endswith("ElevenLabs has confirmed; nothing of it is left.\n")
    assert Tombstones(database).unapplied() == []
    assert not known_there(first)
    assert not known_there(second)


def test_who_waits_in_vain_is_told_what_is_missing_and_the_job_goes_on(
    database: Database, said: Said, now: Any, break_deletions: Break
) -> None:
    keep(database, "c1", at=now - HOUR)
    break_deletions(status=500)
    began = time.monotonic()
    code, _, err = said(erase, "conversation", "c1", "--yes", "--wait", "0.5")
    assert code == 4
    assert "1 confirmations of ElevenLabs'" in err
    assert "The service goes on." in err
    assert time.monotonic() - began < 20
    assert ids(database) == set()


def test_without_a_terminal_and_without_yes_nothing_is_erased(
    database: Database, said: Said, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(database, "c1", at=now - HOUR)
    with open(os.devnull) as nothing:  # noqa: PTH123 (a device)
        monkeypatch.setattr(sys, "stdin", nothing)
        code, _, err = said(erase, "conversation", "c1")
    assert (code, err) == (2, "Nothing was erased. Give --yes where there is no terminal.\n")
    assert ids(database) == {"c1"}
    assert Tombstones(database).list_all() == []


@pytest.mark.parametrize(("answer", "left"), [("yes\n", set()), ("y\n", {"c1"}), ("\n", {"c1"}), ("", {"c1"})])
def test_on_a_terminal_it_asks(
    database: Database, said: Said, now: Any, monkeypatch: pytest.MonkeyPatch, answer: str, left: set[str]
) -> None:
    keep(database, "c1", at=now - HOUR)
    ours, theirs = os.openpty()
    os.write(ours, answer.encode() or b"\x04")
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        code, out, _ = said(erase, "conversation", "c1")
    os.close(ours)
    assert "This cannot be undone" in out
    assert ids(database) == left
    assert code == (2 if left else 0)


def test_in_a_maintenance_nothing_is_erased(database: Database, said: Said, now: Any, store: redis.Redis) -> None:
    keep(database, "c1", at=now - HOUR)
    store.set(MAINTENANCE_KEY, Maintenance("rollback to 0005", "ana", 0.0).as_json())
    for command in ((erase, "conversation", "c1", "--yes"), (retention, "run")):
        code, _, err = said(*command)
        assert code == 3
        assert "rollback to 0005" in err
    assert ids(database) == {"c1"}
    assert Tombstones(database).list_all() == []
    assert JobRuns(database).list_all() == []


def test_without_redis_the_order_is_given_and_stays_open(
    database: Database, said: Said, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(database, "c1", at=now - HOUR)
    monkeypatch.setenv("VOCERO_REDIS_URL", "unix:///nowhere/valkey.sock")
    code, out, err = said(erase, "conversation", "c1", "--yes")
    assert code == 4
    assert "Erased 1 conversations" in out
    assert "Redis does not answer" in err
    assert len(Tombstones(database).unapplied()) == 1


def test_the_status_tells_what_is_owed_without_naming_anybody(
    database: Database, said: Said, now: Any, break_deletions: Break
) -> None:
    assert said(erase, "status") == (0, "Nothing is left to be erased.\n", "")
    keep(database, "conv_canary", at=now - HOUR, user_id="ana@example.com")
    break_deletions(status=500)
    said(erase, "user", "ana@example.com", "--yes")
    said(retention, "run")
    code, out, _ = said(erase, "status")
    assert code == 0
    assert "0 of 1 confirmed" in out
    assert "1 times: UpstreamUnavailableError 500" in out
    assert "canary" not in out
    assert "example.com" not in out
    assert "ElevenLabs: 0 of 1" in said(erase, "status", "user", "ana@example.com")[1]
    assert said(erase, "status", "user", "ben")[:2] == (0, "There is no such order.\n")


# --- retention -----------------------------------------------------------------------------------------------------


def test_run_does_everything_that_is_due(database: Database, said: Said, now: Any, talk: Talk) -> None:
    conversation_id = talk()
    keep(database, "old", at=now - 400 * DAY)
    keep(database, "older words", at=now - 40 * DAY)
    keep(database, conversation_id, at=now - HOUR)
    code, out, err = said(retention, "run")
    assert (code, err) == (0, "")
    assert "retention: 4 utterances, 1 conversations, 0 audit entries, 0 tombstones\n" in out
    assert "costs: 1 fetched, 0 failed\n" in out
    assert ids(database) == {"older words", conversation_id}
    assert ConversationCosts(database).get(conversation_id) is not None


def test_costs_are_not_fetched_where_nobody_wants_them(
    database: Database, said: Said, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOCERO_COST_FETCH", "false")
    keep(database, "c1", at=now - HOUR)
    assert "costs" not in said(retention, "run")[1]
    assert ConversationCosts(database).get("c1") is None


def test_what_another_process_runs_is_left_to_it(database: Database, said: Said) -> None:
    assert JobRuns(database).take("retention", "another", lease_seconds=LEASE_SECONDS)
    code, out, err = said(retention, "run")
    assert (code, err) == (5, "retention: another process is at it\n")
    assert "erasure:" in out


def test_the_status_tells_the_last_run_and_what_is_due(database: Database, said: Said, now: Any) -> None:
    keep(database, "old", at=now - 400 * DAY)
    code, out, _ = said(retention, "status")
    assert code == 0
    assert "retention  last: never yet" in out
    assert "next retention: as soon as a service runs" in out
    assert "too old now: 2 utterances, 1 conversations, 0 audit entries, 0 tombstones" in out
    said(retention, "run")
    out = said(retention, "status")[1]
    assert "2 utterances, 1 conversations" in out
    assert "next retention: about 20" in out
    status = json.loads(said(retention, "status", "--json")[1])
    assert status["due"] == {"utterances": 0, "conversations": 0, "audit_entries": 0, "tombstones": 0}
    assert status["jobs"]["retention"]["result"]["conversations"] == 1
    assert status["maintenance"] is None
    assert status["jobs"]["retention"]["held_by"] is None


def test_the_status_tells_of_a_maintenance_and_of_who_is_at_it(
    database: Database, said: Said, store: redis.Redis
) -> None:
    store.set(MAINTENANCE_KEY, "rollback")
    JobRuns(database).take("retention", "node 7", lease_seconds=LEASE_SECONDS)
    code, out, _ = said(retention, "status")
    assert code == 0
    assert "in maintenance: rollback" in out
    assert "runs now, on node 7" in out


# --- conversations -------------------------------------------------------------------------------------------------


def test_conversations_are_listed_by_filters_and_page_by_page(database: Database, said: Said) -> None:
    for number in range(5):
        keep(database, f"c{number}", at=NOON + number * HOUR, user_id="ana" if number % 2 else "ben")
    code, out, err = said(conversations, "list", "--limit", "2")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["c4", "c3"]
    cursor = err.rpartition("--cursor ")[2].strip()
    _, out, err = said(conversations, "list", "--limit", "2", "--cursor", cursor)
    assert [line.split()[0] for line in out.splitlines()] == ["c2", "c1"]
    for options, wanted in {
        ("--user", "ana"): ["c3", "c1"],
        ("--agent", "nobody"): [],
        ("--since", "2026-03-01T15:00:00Z"): ["c4", "c3"],
        ("--until", "2026-03-01T13:00"): ["c0"],
        ("--text", "WORD 1", "--user", "ben"): ["c4", "c2", "c0"],
    }.items():
        listed = json.loads(said(conversations, "list", "--format", "json", *options)[1])
        assert [each["id"] for each in listed["conversations"]] == wanted
        assert listed["next_cursor"] is None
    assert said(conversations, "list", "--agent", "nobody")[1] == "There are none.\n"


def test_one_is_shown_and_exported_as_it_is_kept(database: Database, said: Said, tmp_path: Path) -> None:
    keep(database, "c1", at=NOON, user_id="ana")
    record = Conversations(database).get("c1")
    assert record is not None
    assert said(conversations, "show", "c1") == (0, as_text(record), "")
    code, out, _ = said(conversations, "export", "c1")
    assert (code, json.loads(out)) == (0, as_document(record))
    path = tmp_path / "c1.txt"
    assert said(conversations, "export", "c1", "--format", "text", "--output", str(path)) == (0, "", "")
    assert path.read_text(encoding="utf-8") == as_text(record)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    code, _, err = said(conversations, "export", "c1", "--output", str(path))
    assert (code, err) == (1, f"{path}: File exists.\n")
    assert path.read_text(encoding="utf-8") == as_text(record)


# --- What goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (conversations, "list", "--since", "yesterday"),
        (conversations, "list", "--limit", "0"),
        (conversations, "list", "--limit", "201"),
        (conversations, "export", "c1", "--format", "yaml"),
        (conversations,),
        (erase, "conversation"),
        (erase, "agent", "x"),
        (erase, "conversation", " ", "--yes"),
        (erase, "conversation", "x", "--wait", "-1"),
        (erase, "conversation", "x", "--wait", "nan"),
        (erase, "status", "user"),
        (retention, "walk"),
    ],
    ids=lambda value: " ".join(map(str, value[1:])),
)
def test_a_wrong_command_line_is_told_and_exits_2(said: Said, arguments: tuple[Any, ...]) -> None:
    code, out, err = said(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert err.strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((conversations, "show", "nothing"), "There is no conversation of that id here."),
        ((conversations, "list", "--cursor", "nonsense"), "This is no cursor of ours."),
        (
            (conversations, "export", "c1", "--output", "/nowhere/c1.json"),
            "/nowhere/c1.json: No such file or directory.",
        ),
    ],
    ids=["unknown", "cursor", "folder"],
)
def test_what_cannot_be_done_is_one_line(
    database: Database, said: Said, arguments: tuple[Any, ...], message: str
) -> None:
    keep(database, "c1")
    assert said(*arguments) == (1, "", f"{message}\n")


@pytest.mark.parametrize(
    ("name", "value", "message", "ends_with"),
    [
        ("VOCERO_DATABASE_URL", "mysql://x/y", "VOCERO_DATABASE_URL: ", 78),
        ("VOCERO_DATABASE_URL", "sqlite:////nowhere/x.db", "VOCERO_DATABASE_URL: the database cannot be reached", 1),
        ("VOCERO_AUDIT_DAYS", "3", "VOCERO_AUDIT_DAYS: ", 78),
        ("ELEVENLABS_API_KEY", "", "ELEVENLABS_API_KEY", 78),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    said: Said, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str, ends_with: int
) -> None:
    monkeypatch.setenv(name, value)
    code, out, err = said(retention, "run")
    assert (code, out) == (ends_with, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_database_without_a_schema_is_told(said: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    code, _, err = said(erase, "conversation", "c1", "--yes")
    assert code == 1
    assert "python -m migrations upgrade" in err


def test_a_database_that_is_away_is_told(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCERO_DATABASE_URL", f"postgresql+psycopg://x@127.0.0.1:{free_port()}/y")
    code, _, err = said(retention, "status")
    assert code == 1
    assert err.startswith("VOCERO_DATABASE_URL: the database cannot be reached")
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [erase, retention, conversations])
def test_help_tells_the_exit_codes(said: Said, command: Any) -> None:
    code, out, _ = said(command, "--help")
    assert code == 0
    assert "Exit codes:" in out


def test_an_erased_subject_is_found_by_its_kind(database: Database, said: Said, now: Any) -> None:
    keep(database, "c1", at=now - HOUR, user_id="c1")
    said(erase, "conversation", "c1", "--yes")
    assert Tombstones(database).get(SubjectKind.CONVERSATION, "c1") is not None
    assert Tombstones(database).get(SubjectKind.USER, "c1") is None
