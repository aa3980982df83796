"""Clients that stall, idle or vanish, workers that leave, upstreams that refuse: bounded waits and clear words."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from scripts.launcher.waiting import wait_until
from service.websocket.frames import TEXT, build_frame
from tests.integration.conversation.conftest import INITIATION, assert_closed_with_error, read_to_the_close
from tests.integration.conversation.scripted_agent import LIMIT, audio


def test_a_reader_that_pauses_gets_every_frame_whole_and_in_order(talk, scripted_agent):
    """The trap: under gevent a partial send left garbage after 243 frames of 16 kB."""
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    sent: list[int] = []
    with ThreadPoolExecutor(1) as pool:

        def speak() -> None:
            for event_id in range(1, 1001):
                agent.send(audio(event_id, 16_000))
                sent.append(event_id)

        # websockets' client stops reading from its socket when nobody takes its messages: that is the pause, and it
        # has come through the service when the agent gets nothing off any more.
        speaking = pool.submit(speak)
        wait_until(stands_still(sent), LIMIT, "every buffer on the way is full")
        events = [json.loads(client.recv(LIMIT)) for _ in range(1000)]
        speaking.result(LIMIT)
    assert [event["audio_event"]["event_id"] for event in events] == list(range(1, 1001))
    assert {len(event["audio_event"]["audio_base_64"]) for event in events} == {16_000}


def stands_still(sent: list[int]) -> Callable[[], bool]:
    """A condition: something was sent, and nothing more between five looks."""
    looks: list[int] = []

    def look() -> bool:
        looks.append(len(sent))
        return looks[-1] > 0 and looks[-5:] == [looks[-1]] * 5

    return look


def test_an_agent_that_does_not_read_slows_the_client_down_and_memory_stays(start_scripted, scripted_agent, dial):
    """The trap: one client took a worker from 37 to 461 MB, because nothing slowed it down."""
    service = start_scripted(VOCERO_WRITE_DEADLINE_SECONDS="1", VOCERO_CLIENT_MESSAGES_PER_SECOND="0")
    worker = service.worker_pids()[0]
    client = dial(service)
    scripted_agent.next_conversation()
    client.recv(LIMIT)
    before = resident_bytes(worker)
    chunk = json.dumps({"user_audio_chunk": "A" * 100_000})
    with pytest.raises((ConnectionClosed, OSError)):
        for _ in range(4000):
            client.send(chunk)
    assert resident_bytes(worker) - before < 20_000_000


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_a_client_that_stops_reading_is_ended_by_the_write_deadline(start_scripted, scripted_agent, dial):
    service = start_scripted(VOCERO_WRITE_DEADLINE_SECONDS="0.5")
    client = dial(service)
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    with pytest.raises(ConnectionClosed):
        for event_id in range(1, 100_000):
            agent.send(audio(event_id, 100_000))
    service.wait_for_log("conversation ended")


@contextmanager
def dead_client(service) -> Iterator[None]:
    """A client whose kernel takes what is sent, and that never says a word after its first message."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=LIMIT) as raw:
        raw.sendall(
            b"GET /v1/convai/conversation?agent_id=agent_demo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            % service.port
        )
        raw.recv(4096)
        raw.sendall(build_frame(TEXT, INITIATION.encode(), mask=True))
        yield


def test_a_silent_client_lives_by_its_pongs_and_one_that_is_gone_is_not_waited_for(
    start_scripted, scripted_agent, dial
):
    service = start_scripted(VOCERO_IDLE_SECONDS="0.2")
    alive = dial(service)
    agent = scripted_agent.next_conversation()
    alive.recv(LIMIT)
    with dead_client(service):
        agent_of_dead = scripted_agent.next_conversation()
        with pytest.raises(ConnectionClosed):
            agent_of_dead.recv(LIMIT)
    agent.send(audio(1))
    assert json.loads(alive.recv(LIMIT))["type"] == "audio"


def test_a_worker_that_leaves_tells_every_client_to_come_back_and_exits(start_scripted, scripted_agent, dial):
    service = start_scripted()
    clients = [dial(service) for _ in range(20)]
    for _ in clients:  # they arrive in any order
        scripted_agent.next_conversation()
    for client in clients:
        client.recv(LIMIT)
    service.stop()
    for client in clients:
        events, code, reason = read_to_the_close(client)
        assert (code, events[-1]["type"]) == (1012, "error")
        assert "connect again" in reason
        client.close()
    assert "Error handling request" not in service.log()


def test_over_its_capacity_a_worker_says_so_and_health_still_answers(start_scripted, scripted_agent, dial):
    service = start_scripted(VOCERO_WORKER_CONNECTIONS="10")
    clients = [dial(service) for _ in range(8)]
    for _ in clients:  # they arrive in any order
        scripted_agent.next_conversation()
    for client in clients:
        client.recv(LIMIT)
    refused = dial(service, initiation=None)
    assert_closed_with_error(refused, 1013, "try again")
    clients[0].close()
    service.wait_for_log("conversation ended")
    taken = dial(service)
    scripted_agent.next_conversation()
    assert json.loads(taken.recv(LIMIT))["type"] == "conversation_initiation_metadata"
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (
            HTTPStatus.UNAUTHORIZED,
            '{"detail":{"status":"invalid_api_key","message":"Invalid API key"}}',
            1011,
            "elevenlabs",
        ),
        (HTTPStatus.TOO_MANY_REQUESTS, '{"detail":{"status":"system_busy","message":"Busy, sorry"}}', 1011, "busy"),
        (
            HTTPStatus.NOT_FOUND,
            '{"detail":{"status":"agent_not_found","message":"No such agent"}}',
            1011,
            "no such agent",
        ),
        (HTTPStatus.INTERNAL_SERVER_ERROR, "oops", 1011, "elevenlabs"),
    ],
)
def test_what_elevenlabs_refuses_is_told_without_our_key(
    scripted_agent, scripted_service, talk, status, body, code, words
):
    scripted_agent.refuse_with, scripted_agent.refuse_body = status, body
    try:
        assert_closed_with_error(talk(), code, words)
    finally:
        scripted_agent.refuse_with = None
    assert "scripted-key" not in scripted_service.log()


def test_an_elevenlabs_that_is_not_there_is_told(start_scripted, dial):
    service = start_scripted(ELEVENLABS_BASE_URL="http://127.0.0.1:1")
    client = dial(service)
    assert_closed_with_error(client, 1011, "connect")
