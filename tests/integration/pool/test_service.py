"""The pool as the service's clients and its operator see it: under gunicorn, over TLS, told by the reports in Redis."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from scripts.launcher.waiting import wait_until
from service.pool_reports import list_reports
from service.pool_stats import PoolStats
from service.websocket.frames import TEXT
from tests.integration.conversation.conftest import INITIATION, assert_closed_with_error, read_to_the_close
from tests.integration.pool.warm_upstream import LIMIT, WarmUpstream
from tests.servers import RunningService, start_service

Start = Callable[..., RunningService]
Dial = Callable[..., ClientConnection]
over_tls = pytest.mark.parametrize("upstream", ["tls"], indirect=True)


@pytest.fixture
def start(
    tmp_path_factory: pytest.TempPathFactory,
    upstream: WarmUpstream,
    ca_file: str,
    valkey: str,
    database_url: str,
    api_key: str,
) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(**environment: str) -> RunningService:
            settings = {
                "ELEVENLABS_BASE_URL": upstream.url,
                "ELEVENLABS_API_KEY": "sk_invented",
                "ELEVENLABS_AGENT_ID": "agent_one",
                "VOCERO_PUBLIC_AGENTS": "agent_one,agent_two",
                "VOCERO_REDIS_URL": valkey,
                "VOCERO_DATABASE_URL": database_url,
                "VOCERO_UPSTREAM_CA_FILE": ca_file,
                "VOCERO_POOL_AGENTS_MIN_IDLE": "2",
                **environment,
            }
            running = start_service(tmp_path_factory.mktemp("pooled"), api_key, settings)
            stack.callback(running.discard)
            return running

        yield start


@pytest.fixture
def dial() -> Iterator[Dial]:
    with ExitStack() as stack:

        def dial(service: RunningService, agent_id: str = "agent_one") -> ClientConnection:
            url = f"{service.ws_url}/v1/convai/conversation?agent_id={agent_id}"
            client = stack.enter_context(connect(url, ping_interval=None, close_timeout=1))
            client.send(INITIATION)
            return client

        yield dial


@pytest.fixture
def agents_of(valkey: str) -> Iterator[Callable[[RunningService], PoolStats | None]]:
    with redis.Redis.from_url(valkey) as store:

        def agents_of(service: RunningService) -> PoolStats | None:
            """What the service's worker reports; None if it reports nothing."""
            pids = {str(pid) for pid in service.worker_pids()}
            pools = [pool for report in list_reports(store) if report.worker in pids for pool in report.pools]
            return next((pool for pool in pools if pool.name == "agents"), None)

        yield agents_of


def assert_greeted(client: ClientConnection) -> None:
    assert json.loads(client.recv(LIMIT))["type"] == "conversation_initiation_metadata"


def test_a_client_talks_over_a_connection_that_stood_before_it_came(
    upstream: WarmUpstream, start: Start, dial: Dial
) -> None:
    service = start()
    ready = upstream.wait_until_warm(2)
    client = dial(service)
    theirs = upstream.next_conversation()
    theirs.greet()
    assert_greeted(client)
    assert theirs.number in ready
    client.send(json.dumps({"user_audio_chunk": "AAAA"}))
    assert json.loads(theirs.socket.receive(LIMIT).data) == {"user_audio_chunk": "AAAA"}


def test_a_client_does_not_notice_that_the_ready_connections_have_died(
    upstream: WarmUpstream, start: Start, dial: Dial
) -> None:
    service = start()
    dead = upstream.wait_until_warm(2)
    upstream.dying.update(dead)
    for _ in range(4):
        client = dial(service, "agent_two")
        theirs = upstream.next_conversation()
        theirs.greet()
        assert_greeted(client)
        upstream.end_ready()
        client.close()


@over_tls
def test_nothing_stays_lent_however_a_conversation_ends(
    upstream: WarmUpstream,
    start: Start,
    dial: Dial,
    agents_of: Callable[[RunningService], PoolStats | None],
) -> None:
    service = start()

    def client_closes(client: ClientConnection) -> None:
        client.close()

    def client_resets(client: ClientConnection) -> None:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.socket.close()

    endings = [
        (client_closes, None),
        (client_resets, None),
        (None, lambda theirs: theirs.close(1000)),
        (None, lambda theirs: theirs.close(1008, "Invalid message received")),
        (None, lambda theirs: theirs.reset()),
        (None, lambda theirs: theirs.sock.sendall(b"\xff\xff\xff\xff")),
    ]
    for by_client, by_agent in endings:
        client = dial(service)
        theirs = upstream.next_conversation()
        theirs.greet()
        assert_greeted(client)
        if by_client is not None:
            by_client(client)
        if by_agent is not None:
            by_agent(theirs)
            with pytest.raises(ConnectionClosed):
                while True:
                    client.recv(LIMIT)
    refused = dial(service)
    theirs = upstream.next_conversation()
    assert theirs.socket.receive(LIMIT).opcode == TEXT
    theirs.close(1008, "Override for field 'first_message' is not allowed by config.")
    read_to_the_close(refused)

    def all_is_told() -> bool:
        stats = agents_of(service)
        return stats is not None and (stats.served, stats.lent, stats.idle) == (len(endings) + 1, 0, 2)

    wait_until(all_is_told, LIMIT, "nothing lent")
    stats = agents_of(service)
    assert stats is not None
    assert stats.discarded == len(endings) + 1


@over_tls
def test_a_worker_that_leaves_ends_its_connections_and_takes_its_report_back(
    upstream: WarmUpstream, start: Start, dial: Dial, valkey: str
) -> None:
    service = start()
    pid = str(service.worker_pids()[0])
    clients = [dial(service) for _ in range(3)]
    theirs = [upstream.next_conversation() for _ in clients]
    for one in theirs:
        one.greet()
    for client in clients:
        assert_greeted(client)
    upstream.wait_until_warm(2)
    with redis.Redis.from_url(valkey) as store:
        wait_until(lambda: pid in {report.worker for report in list_reports(store)}, LIMIT, "the worker's report")
        service.stop()
        for client in clients:
            assert read_to_the_close(client)[1] == 1012
        assert pid not in {report.worker for report in list_reports(store)}
    upstream.wait_until_ready(0)


@over_tls
def test_over_the_bound_a_client_is_refused_clearly_and_the_others_go_on(
    upstream: WarmUpstream, start: Start, dial: Dial
) -> None:
    service = start(
        VOCERO_POOL_AGENTS_MIN_IDLE="0", VOCERO_POOL_AGENTS_MAX_SIZE="1", VOCERO_POOL_AGENTS_MAX_WAITING="0"
    )
    first = dial(service)
    theirs = upstream.next_conversation()
    theirs.greet()
    assert_greeted(first)
    assert_closed_with_error(dial(service), 1013, "try again")
    theirs.socket.send_text(json.dumps({"type": "ping", "ping_event": {"event_id": 1}}))
    assert json.loads(first.recv(LIMIT))["type"] == "ping"
    first.close()
    service.wait_for_log('"code": 1000')
    second = dial(service)
    upstream.next_conversation().greet()
    assert_greeted(second)


def test_bounds_that_exclude_each_other_are_named(start: Start) -> None:
    with pytest.raises(Exception, match="VOCERO_POOL_AGENTS_MIN_IDLE"):
        start(VOCERO_POOL_AGENTS_MIN_IDLE="3", VOCERO_POOL_AGENTS_MAX_SIZE="2")
