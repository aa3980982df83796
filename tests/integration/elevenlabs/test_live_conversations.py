from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest
from agent_upstream import METADATA, Agent, AgentUpstream
from scripted_upstream import WAIT_SECONDS, Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import (
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamConnectError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamPolicyError,
    UpstreamProtocolError,
    UpstreamQuotaError,
    UpstreamRequestError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

StartAgent = Callable[..., AgentUpstream]
StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]


def idle(agent: Agent) -> None:
    agent.await_hang_up()


def test_the_url_is_signed_with_the_key_and_the_socket_gets_the_signature_and_no_key(
    start_agent: StartAgent, start_service: StartService, key: str
) -> None:
    upstream = start_agent(idle)
    service = start_service(upstream.url)
    with service.open_conversation("agent&1", signing_options={"branch_id": "b1"}) as conversation:
        assert (conversation.agent_id, conversation.conversation_id) == ("agent&1", None)
    signing, opening = upstream.paths
    assert urlsplit(signing).path == "/v1/convai/conversation/get-signed-url"
    assert dict(parse_qsl(urlsplit(signing).query)) == {"agent_id": "agent&1", "branch_id": "b1"}
    assert upstream.headers[0]["xi-api-key"] == key
    assert dict(parse_qsl(urlsplit(opening).query))["conversation_signature"] == "cvtkn_1"
    assert "xi-api-key" not in upstream.headers[1]
    assert key not in opening
    assert "sec-websocket-protocol" not in upstream.headers[1]


def test_a_public_agent_is_reached_without_any_signature_or_key(
    start_agent: StartAgent, start_service: StartService
) -> None:
    upstream = start_agent(idle)
    start_service(upstream.url).open_conversation("agent_1", signed=False).close()
    assert upstream.paths == ["/v1/convai/conversation?agent_id=agent_1"]
    assert "xi-api-key" not in upstream.headers[0]


@pytest.mark.parametrize(
    "initiation",
    [
        b'{ "type":"conversation_initiation_client_data", "unknown":[1.0] }',
        {"type": "conversation_initiation_client_data", "user_id": "u1"},
    ],
)
def test_the_initiation_is_the_first_frame_and_bytes_of_a_client_stay_as_they_are(
    start_agent: StartAgent, start_service: StartService, initiation: bytes | dict[str, str]
) -> None:
    heard: list[str] = []
    done = threading.Event()

    def script(agent: Agent) -> None:
        heard.append(str(agent.connection.recv(WAIT_SECONDS)))
        done.set()
        idle(agent)

    upstream = start_agent(script)
    with start_service(upstream.url).open_conversation("agent_1", initiation):
        assert done.wait(WAIT_SECONDS)
    if isinstance(initiation, bytes):
        assert heard == [initiation.decode()]
    else:
        assert json.loads(heard[0]) == initiation


def test_without_an_initiation_nothing_is_sent(start_agent: StartAgent, start_service: StartService) -> None:
    frames: list[str] = []

    def script(agent: Agent) -> None:
        frames.extend(str(frame) for frame in agent.connection)

    with start_agent(script) as upstream:
        start_service(upstream.url).open_conversation("agent_1").close()
    assert frames == []


def test_a_first_frame_in_the_segment_of_the_101_is_there_at_once(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    payload = json.dumps(METADATA).encode()

    def script(peer: Peer) -> None:
        request = peer.read_request()
        assert request is not None
        key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        frame = b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload
        peer.send(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + frame)
        peer.await_hang_up()

    service = start_service(start_upstream(script).url)
    conversation = service.open_conversation("agent_1", signed=False)
    # The frame was read with the 101: not even a look at the socket is needed.
    assert conversation.receive_event(timeout=0.001) == METADATA
    assert conversation.conversation_id == "conv_1"
    conversation.socket.abort()


def test_events_arrive_as_they_are_and_pings_are_answered(start_agent: StartAgent, start_service: StartService) -> None:
    unknown = {"type": "something_new", "payload": {"x": [1, None]}}
    answers: list[dict[str, object]] = []
    answered = threading.Event()

    def script(agent: Agent) -> None:
        agent.say({"type": "ping", "ping_event": {"event_id": 7, "ping_ms": None}}, unknown)
        answers.append(agent.hear())
        answered.set()
        idle(agent)

    with start_service(start_agent(script).url).open_conversation("agent_1") as conversation:
        ping = conversation.receive_event(WAIT_SECONDS)
        assert ping is not None
        assert ping["type"] == "ping"
        assert conversation.receive_event(WAIT_SECONDS) == unknown
        assert answered.wait(WAIT_SECONDS)
    assert answers == [{"type": "pong", "event_id": 7}]


@pytest.mark.parametrize("phase", ["signing", "upgrade"])
@pytest.mark.parametrize(
    ("status", "body", "expected", "code"),
    [
        (401, '{"detail":{"status":"invalid_api_key","message":"No."}}', UpstreamKeyError, "invalid_api_key"),
        (401, '{"detail":{"status":"quota_exceeded","message":"No."}}', UpstreamQuotaError, "quota_exceeded"),
        (403, "Forbidden", UpstreamPolicyError, "http_403"),
        (404, '{"detail":{"code":"agent_not_found","message":"No."}}', UpstreamRequestError, "agent_not_found"),
        (422, '{"detail":[{"loc":["query","agent_id"],"msg":"No."}]}', UpstreamRequestError, "invalid_parameters"),
        (429, '{"detail":{"status":"too_many_concurrent_requests"}}', UpstreamConcurrencyError,
         "too_many_concurrent_requests"),
        (429, '{"detail":{"code":"system_busy"}}', UpstreamBusyError, "system_busy"),
        (500, "<html>" + "x" * 200_000, UpstreamUnavailableError, "http_500"),
        (503, "", UpstreamBusyError, "http_503"),
    ],
)  # fmt: skip
def test_a_refusal_becomes_its_class_at_the_signing_and_at_the_upgrade(
    start_agent: StartAgent,
    start_service: StartService,
    phase: str,
    status: int,
    body: str,
    expected: type[UpstreamError],
    code: str,
) -> None:
    if phase == "signing":
        upstream = start_agent(idle, sign=lambda url: (status, body))
    else:
        upstream = start_agent(idle, refuse=(status, body))
    with pytest.raises(UpstreamError) as caught:
        start_service(upstream.url).open_conversation("agent_1", {"type": "x"})
    assert type(caught.value) is expected
    assert (caught.value.code, caught.value.status) == (code, status)
    assert len(upstream.paths) == (1 if phase == "signing" else 2)


CLOSES = [
    (1001, "", UpstreamUnavailableError),
    (1002, "This request exceeds your quota limit.", UpstreamQuotaError),
    (1002, "The AI agent you are trying to reach appears to be misconfigured", UpstreamRequestError),
    (1002, "safety_violation", UpstreamPolicyError),
    (1002, "llm_timeout", UpstreamTimeoutError),
    (1002, "tts_cascade_error", UpstreamUnavailableError),
    (1008, "Override for field 'prompt' is not allowed by config.", UpstreamRequestError),
    (1011, "unknown_websocket_crash", UpstreamUnavailableError),
    (3000, "The AI agent you are trying to reach does not exist.", UpstreamRequestError),
    (3008, "too many concurrent connections", UpstreamConcurrencyError),
    (4321, "news", UpstreamUnavailableError),
]


@pytest.mark.parametrize(("code", "reason", "expected"), CLOSES)
def test_a_close_right_after_opening_becomes_its_class(
    start_agent: StartAgent, start_service: StartService, code: int, reason: str, expected: type[UpstreamError]
) -> None:
    upstream = start_agent(lambda agent: agent.close(code, reason))
    conversation = start_service(upstream.url).open_conversation("agent_1")
    with pytest.raises(UpstreamError) as caught:
        conversation.receive_event(WAIT_SECONDS)
    conversation.close()
    assert type(caught.value) is expected
    assert caught.value.close_code == code
    assert caught.value.message == reason or not reason


def test_a_normal_close_is_the_end_and_no_error(start_agent: StartAgent, start_service: StartService) -> None:
    upstream = start_agent(lambda agent: agent.close(1000, "max_duration_exceeded"))
    with start_service(upstream.url).open_conversation("agent_1") as conversation:
        assert conversation.receive_event(WAIT_SECONDS) is None


def test_a_connection_that_is_lost_without_a_close_is_unavailable(
    start_agent: StartAgent, start_service: StartService
) -> None:
    upstream = start_agent(lambda agent: agent.connection.socket.shutdown(socket.SHUT_RDWR))
    conversation = start_service(upstream.url).open_conversation("agent_1")
    with pytest.raises(UpstreamUnavailableError) as caught:
        conversation.receive_event(WAIT_SECONDS)
    conversation.close()
    assert (caught.value.code, caught.value.close_code) == ("connection_lost", 1006)


def test_an_error_event_is_raised_with_its_sentence(start_agent: StartAgent, start_service: StartService) -> None:
    event = {"type": "error", "error_event": {"code": 1002, "error_type": "llm_error", "message": "The model fails."}}

    def script(agent: Agent) -> None:
        agent.say(event)
        idle(agent)

    with (
        start_service(start_agent(script).url).open_conversation("agent_1") as conversation,
        pytest.raises(UpstreamUnavailableError, match="The model fails") as caught,
    ):
        conversation.receive_event(WAIT_SECONDS)
    assert caught.value.code == "llm_error"


@pytest.mark.parametrize("frame", ["not json", "[]", "{}", '{"type":7}', "7", "", b"\x00\xff"])
def test_a_frame_that_is_no_event_is_a_protocol_error(
    start_agent: StartAgent, start_service: StartService, frame: str | bytes
) -> None:
    def script(agent: Agent) -> None:
        agent.connection.send(frame)
        idle(agent)

    with (
        start_service(start_agent(script).url).open_conversation("agent_1") as conversation,
        pytest.raises(UpstreamProtocolError),
    ):
        conversation.receive_event(WAIT_SECONDS)


def test_a_signed_url_to_a_foreign_host_is_not_followed(start_agent: StartAgent, start_service: StartService) -> None:
    foreign = start_agent(idle)
    document = json.dumps({"signed_url": f"ws://127.0.0.1:{foreign.port}/v1/convai/conversation"})
    upstream = start_agent(idle, sign=lambda url: (200, document))
    with pytest.raises(UpstreamProtocolError) as caught:
        start_service(upstream.url).open_conversation("agent_1")
    assert caught.value.code == "foreign_signed_url"
    assert foreign.paths == []


@pytest.mark.parametrize("document", ["", "[]", '{"signed_url":null}', "x" * 100_000])
def test_an_answer_without_a_signed_url_is_a_protocol_error(
    start_agent: StartAgent, start_service: StartService, document: str
) -> None:
    upstream = start_agent(idle, sign=lambda url: (200, document))
    with pytest.raises(UpstreamProtocolError):
        start_service(upstream.url).open_conversation("agent_1")


def test_an_upgrade_that_hangs_or_a_refused_connection_says_that_nothing_was_sent(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.await_hang_up()

    hanging = start_service(start_upstream(script).url, connect_seconds=0.2)
    with pytest.raises(UpstreamConnectError) as caught:
        hanging.open_conversation("agent_1", signed=False)
    assert caught.value.code == "connect_timeout"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UpstreamConnectError):
        start_service(f"http://127.0.0.1:{port}").open_conversation("agent_1", signed=False)


def test_leaving_the_block_says_goodbye(start_agent: StartAgent, start_service: StartService) -> None:
    codes: list[int | None] = []
    with start_agent(lambda agent: codes.append(agent.await_hang_up())) as upstream:
        conversation = start_service(upstream.url).open_conversation("agent_1")
        with conversation:
            assert conversation.socket.is_open
    assert codes == [1000]
