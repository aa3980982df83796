"""An invented key is pushed through every path that fails; it may be found nowhere but in the request's header."""

from __future__ import annotations

import json
import logging
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from agent_upstream import METADATA, Agent, AgentUpstream
from scripted_upstream import Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import UpstreamError, VoceroError
from tests.keys import one_key

StartAgent = Callable[..., AgentUpstream]
StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]


def chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


def assert_without_key(error: BaseException, log: pytest.LogCaptureFixture, key: str) -> None:
    shown = ["".join(traceback.format_exception(error)), log.text]
    for one in chain(error):
        shown += [str(one), repr(one), repr(vars(one))]
        # requests' exceptions carry the request: a reporter that looks at attributes would find the header.
        request = getattr(one, "request", None)
        shown.append(repr(dict(request.headers)) if request is not None else "")
    assert not [text for text in shown if key in text]


def refuse_with_an_echo(peer: Peer) -> None:
    request = peer.read_request()
    assert request is not None
    echo = json.dumps({"detail": {"message": f"You sent {request.headers}", "status": request.headers["xi-api-key"]}})
    peer.answer(echo.encode(), status="400 Bad Request")


def hang_up(peer: Peer) -> None:
    peer.read_request()


def reset(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def stay_silent(peer: Peer) -> None:
    peer.read_request()
    peer.await_hang_up()


def send_garbage(peer: Peer) -> None:
    request = peer.read_request()
    assert request is not None
    peer.send(f"{request.headers['xi-api-key']}\r\n\r\n".encode())


def break_off(peer: Peer) -> None:
    peer.read_request()
    peer.head(content_length="100")
    peer.send(b"x")


def break_a_chunk(peer: Peer) -> None:
    request = peer.read_request()
    assert request is not None
    peer.head(transfer_encoding="chunked")
    peer.send(f"{request.headers['xi-api-key']}\r\n".encode())


def answer_with_a_page(peer: Peer) -> None:
    peer.read_request()
    peer.answer(b"<html>", content_type="text/html")


def redirect(peer: Peer) -> None:
    request = peer.read_request()
    assert request is not None
    peer.answer(b"", status="302 Found", location=f"http://127.0.0.1:9/?key={request.headers['xi-api-key']}")


SCRIPTS = [
    refuse_with_an_echo, hang_up, reset, stay_silent, send_garbage, break_off, break_a_chunk, answer_with_a_page,
    redirect,
]  # fmt: skip


@pytest.mark.parametrize("act", ["speak", "converse"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_no_failure_of_http_shows_the_key(
    start_upstream: StartUpstream,
    start_service: StartService,
    caplog: pytest.LogCaptureFixture,
    key: str,
    script: Callable[[Peer], None],
    act: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    service = start_service(start_upstream(script).url, read_seconds=0.2)
    with pytest.raises(UpstreamError) as caught:
        if act == "speak":
            service.generate_audio("Hello.", voice_id="v1").read_all()
        else:
            service.open_conversation("agent_1")
    assert_without_key(caught.value, caplog, key)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_no_failure_to_connect_shows_the_key(
    start_service: StartService, caplog: pytest.LogCaptureFixture, key: str, scheme: str
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UpstreamError) as caught:
        start_service(f"{scheme}://127.0.0.1:{port}").generate_audio("Hello.", voice_id="v1")
    assert_without_key(caught.value, caplog, key)


@pytest.mark.parametrize("ending", ["\n", "\r\nx: y", "\u2026"])
def test_a_key_that_no_header_can_hold_is_not_shown(
    start_service: StartService, caplog: pytest.LogCaptureFixture, key: str, ending: str
) -> None:
    caplog.set_level(logging.DEBUG)
    service = start_service("http://127.0.0.1:9", keys=one_key(key + ending))
    with pytest.raises(UpstreamError) as caught:
        service.generate_audio("Hello.", voice_id="v1")
    assert_without_key(caught.value, caplog, key)


@pytest.mark.parametrize("manner", ["upgrade refused", "closed", "frame garbled", "error event", "foreign url"])
def test_no_failure_of_a_conversation_shows_the_key_or_the_signature(
    start_agent: StartAgent, start_service: StartService, caplog: pytest.LogCaptureFixture, key: str, manner: str
) -> None:
    caplog.set_level(logging.DEBUG, logger="urllib3")
    caplog.set_level(logging.DEBUG, logger="service")

    def script(agent: Agent) -> None:
        agent.say(METADATA)
        match manner:
            case "closed":
                agent.close(1011, "crash")
            case "frame garbled":
                agent.connection.send("{")
            case _:
                agent.say({"type": "error", "error_event": {"code": 1002, "message": "llm_error"}})
        agent.await_hang_up()

    upstream = start_agent(script)
    if manner == "upgrade refused":
        upstream.refuse = (403, "no")
    if manner == "foreign url":
        upstream.sign = lambda url: (200, json.dumps({"signed_url": url.replace("127.0.0.1", "evil.example")}))
    with (
        pytest.raises(VoceroError) as caught,
        closing(start_service(upstream.url).open_conversation("agent_1")) as conversation,
    ):
        conversation.receive_event(5)
        conversation.receive_event(5)
    assert_without_key(caught.value, caplog, key)
    assert_without_key(caught.value, caplog, "cvtkn_1")
