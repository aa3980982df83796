"""What a client can do wrong: a clear error in the right shape and code, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.integration.conversation.conftest import assert_closed_with_error
from tests.integration.conversation.scripted_agent import LIMIT, audio


@pytest.fixture
def bystander(talk, scripted_agent, scripted_service):
    """Another conversation, and after the test proof that it lives on in the same worker."""
    worker = scripted_service.worker_pids()
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    yield
    agent.send(audio(1))
    assert json.loads(client.recv(LIMIT))["type"] == "audio"
    client.send('{"user_audio_chunk":"AAAA"}')
    assert agent.recv(LIMIT) == '{"user_audio_chunk":"AAAA"}'
    assert scripted_service.worker_pids() == worker


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        ("hello", 1008, "not JSON"),
        ("[]", 1008, "not a JSON object"),
        ('{"no":"type"}', 1008, "no type"),
        (b"\x00\x01", 1003, "binary"),
        (json.dumps({"user_audio_chunk": "A" * 10_000_000}), 1009, "too big"),
    ],
)
@pytest.mark.usefixtures("bystander")
def test_a_bad_message_in_mid_talk(talk, scripted_agent, message, code, words):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    client.send(message)
    assert_closed_with_error(client, code, words)
    with pytest.raises(ConnectionClosed):
        agent.recv(LIMIT)


@pytest.mark.parametrize("first", ["hello", '{"type":"hello"}', b"\x00"])
@pytest.mark.usefixtures("bystander")
def test_a_bad_first_message_never_reaches_elevenlabs(talk, first):
    client = talk(initiation=None)
    client.send(first)
    assert_closed_with_error(client, 1003 if isinstance(first, bytes) else 1008, "invalid message")


@pytest.mark.usefixtures("bystander")
def test_invalid_utf8(talk, scripted_agent):
    client = talk()
    scripted_agent.next_conversation()
    client.recv(LIMIT)
    with client.send_context():
        client.protocol.send_text(b'{"type":"\xc3\x28"}')
    assert_closed_with_error(client, 1007, "UTF-8")


@pytest.mark.usefixtures("bystander")
def test_a_hundred_thousand_tiny_frames(talk, scripted_agent):
    client = talk()
    scripted_agent.next_conversation()
    client.recv(LIMIT)
    frame = b"\x81\x97\x00\x00\x00\x00" + b'{"user_audio_chunk":""}'
    with contextlib.suppress(OSError):  # refused before all were out
        client.socket.sendall(frame * 100_000)
    assert_closed_with_error(client, 1008, "too many messages")


@pytest.mark.usefixtures("bystander")
def test_a_message_of_a_hundred_thousand_empty_fragments_costs_no_memory_and_arrives(talk, scripted_agent):
    client = talk()
    agent = scripted_agent.next_conversation()
    client.recv(LIMIT)
    empty = b"\x00\x80\x00\x00\x00\x00"
    client.socket.sendall(b'\x01\x8f\x00\x00\x00\x00{"type":"pong",' + empty * 100_000)
    client.socket.sendall(b'\x80\x8d\x00\x00\x00\x00"event_id":1}')
    assert agent.recv(LIMIT) == '{"type":"pong","event_id":1}'


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"query": ""}, "agent_id is missing"),
        ({"query": "agent_id=" + "a" * 500}, "too long"),
        ({"query": "agent_id=agent_private"}, "not public"),
        ({"query": "agent_id=agent_demo&conversation_signature=nonsense"}, "not one of ours"),
        ({"query": "agent_id=agent_demo&conversation_signature=vtk1_" + "A" * 43}, "expired or was used"),
        ({"query": "agent_id=agent_demo&conversation_signature=vtk1_" + "A" * 1000}, "not one of ours"),
        ({"additional_headers": {"xi-api-key": "wrong"}}, "API key is not valid"),
        ({"subprotocols": ["convai", "bearer.wrong"]}, "API key is not valid"),
    ],
)
def test_who_may_not_talk_is_told_why(talk, options, words):
    client = talk(initiation=None, **options)
    assert_closed_with_error(client, 1008, words)


def test_a_page_of_another_origin_is_refused_before_the_upgrade(talk):
    with pytest.raises(InvalidStatus) as caught:
        talk(additional_headers={"Origin": "https://evil.example"})
    response = caught.value.response
    assert (response.status_code, json.loads(response.body)["detail"]["code"]) == (403, "forbidden")


def test_a_name_that_is_not_ours_is_refused_on_loopback(scripted_service):
    """DNS rebinding: the web site's own name leads to 127.0.0.1, so Origin and Host agree."""
    with socket.create_connection(("127.0.0.1", scripted_service.port), timeout=LIMIT) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_says_nothing_is_sent_away(start_scripted):
    service = start_scripted(VOCERO_FIRST_FRAME_SECONDS="0.2")
    with connect(f"{service.ws_url}/v1/convai/conversation?agent_id=agent_demo") as client:
        assert_closed_with_error(client, 1008, "no message came")


@pytest.mark.parametrize("break_it", ["no mask", "reserved bit", "unknown opcode", "long ping", "bad close"])
@pytest.mark.usefixtures("bystander")
def test_a_breach_of_rfc_6455_is_closed_with_1002(talk, scripted_agent, break_it):
    client = talk()
    scripted_agent.next_conversation()
    client.recv(LIMIT)
    client.socket.sendall(
        {
            "no mask": b"\x81\x02{}",
            "reserved bit": b"\xc1\x82\x00\x00\x00\x00{}",
            "unknown opcode": b"\x83\x82\x00\x00\x00\x00{}",
            "long ping": b"\x89\xfe\x00\x7e",
            "bad close": b"\x88\x81\x00\x00\x00\x00x",
        }[break_it]
    )
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            client.recv(LIMIT)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1002


def test_a_plain_get_of_the_socket_is_answered_in_elevenlabs_shape(scripted_service):
    answer = requests.get(f"{scripted_service.url}/v1/convai/conversation?agent_id=agent_demo", timeout=LIMIT)
    assert answer.status_code == 400
    assert answer.json()["detail"]["request_id"]


def test_an_upgrade_without_a_key_is_a_bad_request(scripted_service):
    with socket.create_connection(("127.0.0.1", scripted_service.port), timeout=LIMIT) as raw:
        raw.sendall(
            b"GET /v1/convai/conversation?agent_id=agent_demo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % scripted_service.port
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")
