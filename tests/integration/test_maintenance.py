"""Maintenance as clients, operators and health checks meet it: a real service with two workers and a real Valkey."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from scripts.launcher.waiting import wait_until
from service.maintenance import MAINTENANCE_KEY, Maintenance
from service.pool_reports import list_reports
from service.redis_keys import namespace_of
from tests.conftest import StartService
from tests.servers import READY_SECONDS, RunningService, clean_environment

LIMIT = 20.0
Dial = Callable[[RunningService], ClientConnection]


class OwnValkey:
    """A Valkey that a test may stop and start again; it keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.socket = valkey.socket_path(folder)
        self.url = valkey.redis_url(self.socket)
        command = [*valkey.server_command(folder, self.socket), "--appendonly", "no"]
        self._child = Child(
            "Valkey", command, environment=clean_environment(), log_path=folder / "valkey.log", folder=folder
        )

    def start(self) -> None:
        self._child.start()
        self._child.wait_until_ready(lambda: probes.accepts(str(self.socket)), READY_SECONDS)

    def stop(self) -> None:
        self._child.stop()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    running = OwnValkey(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def store(own_valkey: OwnValkey) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(own_valkey.url, socket_timeout=5)
    yield client
    client.close()


@pytest.fixture
def service(start_service: StartService, own_valkey: OwnValkey, store: redis.Redis) -> RunningService:
    running = start_service(VOCERO_REDIS_URL=own_valkey.url, VOCERO_WORKERS="2", VOCERO_AGENTS_CONCURRENCY="5")
    wait_until(lambda: len(list_reports(store)) == 2, LIMIT, "both workers report")
    return running


@pytest.fixture
def dial() -> Iterator[Dial]:
    with ExitStack() as stack:

        def open_(service: RunningService) -> ClientConnection:
            url = f"{service.ws_url}/v1/convai/conversation?agent_id=agent_text"
            client = stack.enter_context(connect(url, close_timeout=1))
            with suppress(ConnectionClosed):  # refused already
                client.send('{"type": "conversation_initiation_client_data"}')
            return client

        yield open_


def begin(store: redis.Redis, *, drain_seconds: float) -> float:
    """Begin a maintenance; seconds until both workers say that they have seen it."""
    begun = time.monotonic()
    store.set(MAINTENANCE_KEY, Maintenance("schema back to 0005", "ana", time.time(), drain_seconds).as_json())
    wait_until(lambda: seen(store) == [True, True], LIMIT, "both have seen it")
    return time.monotonic() - begun


def seen(store: redis.Redis) -> list[bool | None]:
    return [report.maintenance for report in list_reports(store)]


def ask(url: str, **options: Any) -> tuple[int, dict[str, Any], Any]:
    """Status, JSON and headers of the answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options), timeout=10) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused), refused.headers


def ask_for_ticket(service: RunningService) -> tuple[int, dict[str, Any], Any]:
    return ask(f"{service.url}/chat/tickets", data=b"{}", headers={"Origin": service.url})


def last_words(client: ClientConnection) -> tuple[int, str]:
    """Code and reason of the close."""
    try:
        while True:
            client.recv(LIMIT)
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return closed.rcvd.code, closed.rcvd.reason


def test_every_worker_refuses_whoever_is_new_and_says_why(
    service: RunningService, store: redis.Redis, dial: Dial
) -> None:
    assert begin(store, drain_seconds=60) < 5  # a second and what this machine does besides
    for _ in range(8):  # whichever worker answers
        status, body, _ = ask(f"{service.url}/readyz")
        assert (status, body["maintenance"], body["redis"]) == (503, "schema back to 0005", "ok")
        status, body, headers = ask_for_ticket(service)
        assert (status, body["detail"]["code"], headers["Retry-After"]) == (503, "maintenance", "30")
        code, reason = last_words(dial(service))
        assert (code, "maintenance" in reason) == (1013, True)
    key = {"xi-api-key": service.api_key}
    status, body, headers = ask(f"{service.url}/v1/text-to-speech/v1", data=b'{"text": "a"}', headers=key)
    assert (status, body["detail"]["code"], headers["Retry-After"]) == (503, "maintenance", "30")
    signed = f"{service.url}/v1/convai/conversation/get-signed-url?agent_id=agent_text"
    assert ask(signed, headers=key)[0] == 503
    assert probes.answers(f"{service.url}/livez")

    store.delete(MAINTENANCE_KEY)
    wait_until(lambda: seen(store) == [False, False], LIMIT, "both have seen its end")
    for _ in range(8):
        assert ask(f"{service.url}/readyz")[:2] == (
            200,
            {"status": "ok", "redis": "ok", "database": "ok", "secrets": "ok", "draining": False, "maintenance": None},
        )
        assert ask_for_ticket(service)[0] == 200
    client = dial(service)
    assert json.loads(client.recv(LIMIT))["type"] == "conversation_initiation_metadata"


def test_who_talks_may_finish_and_is_ended_when_the_time_is_over(
    service: RunningService, store: redis.Redis, dial: Dial
) -> None:
    clients = [dial(service) for _ in range(4)]
    for client in clients:
        client.recv(LIMIT)
    wait_until(lambda: conversations(store) == 4, LIMIT, "four conversations are reported")
    begin(store, drain_seconds=3600)
    clients[0].send('{"type": "user_message", "text": "Goodbye!"}')
    assert last_words(clients[0])[0] == 1000
    wait_until(lambda: conversations(store) == 3, LIMIT, "one has ended")
    begin(store, drain_seconds=0)
    for client in clients[1:]:
        code, reason = last_words(client)
        assert (code, "maintenance" in reason) == (1012, True)
    wait_until(lambda: conversations(store) == 0, LIMIT, "nobody is left")


def conversations(store: redis.Redis) -> int:
    return sum(report.conversations for report in list_reports(store))


def test_with_redis_away_a_worker_keeps_what_it_last_knew(
    service: RunningService, store: redis.Redis, own_valkey: OwnValkey, dial: Dial
) -> None:
    begin(store, drain_seconds=60)
    own_valkey.stop()
    wait_until(lambda: service.log().count("not heard") == 2, LIMIT, "both miss Redis")
    assert ask(f"{service.url}/readyz")[1]["maintenance"] == "schema back to 0005"
    assert last_words(dial(service))[0] == 1013


def test_a_worker_that_starts_in_a_maintenance_takes_nobody(
    start_service: StartService, own_valkey: OwnValkey, store: redis.Redis, dial: Dial
) -> None:
    store.set(MAINTENANCE_KEY, "written by hand")
    service = start_service(VOCERO_REDIS_URL=own_valkey.url)
    assert ask(f"{service.url}/readyz")[1]["maintenance"] == "written by hand"
    assert last_words(dial(service))[0] == 1013


def test_the_service_writes_no_key_that_is_not_in_the_catalogue(
    service: RunningService, store: redis.Redis, dial: Dial
) -> None:
    assert ask_for_ticket(service)[0] == 200
    client = dial(service)
    client.recv(LIMIT)
    wait_until(lambda: conversations(store) == 1, LIMIT, "the conversation is reported")
    keys: list[bytes] = list(store.scan_iter(count=1000))
    namespaces = [namespace_of(key) for key in keys]
    assert [key for key, found in zip(keys, namespaces, strict=True) if found is None] == []
    assert len({found.prefix for found in namespaces if found}) >= 5
