from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
from scripted_upstream import WAIT_SECONDS, Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import (
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamConnectError,
    UpstreamProtocolError,
    UpstreamQuotaError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]


def speak(service: ElevenLabsService) -> bytes:
    return b"".join(service.generate_audio("Hello.", voice_id="v1"))


def test_an_error_of_elevenlabs_becomes_its_class_with_its_waiting_time(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    body = b'{"detail":{"type":"rate_limit_error","code":"concurrent_limit_exceeded","message":"Wait."}}'

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(body, status="429 Too Many Requests", retry_after="4", request_id="r1")

    with pytest.raises(UpstreamConcurrencyError) as caught:
        speak(start_service(start_upstream(script).url))
    assert (caught.value.retry_after, caught.value.request_id, caught.value.message) == (4.0, "r1", "Wait.")


def test_the_other_429_tells_to_back_off(start_upstream: StartUpstream, start_service: StartService) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b'{"detail":{"status":"system_busy"}}', status="429 Too Many Requests")

    with pytest.raises(UpstreamBusyError):
        speak(start_service(start_upstream(script).url))


def test_an_error_whose_body_breaks_off_is_still_read_by_its_status(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.head("402 Payment Required", content_length="1000")
        peer.send(b'{"detail":')

    with pytest.raises(UpstreamQuotaError):
        speak(start_service(start_upstream(script).url))


def test_an_errors_body_is_read_up_to_a_bound_and_then_hung_up_on(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    hung_up = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.head("500 Internal Server Error", transfer_encoding="chunked")
        try:
            while True:  # without end
                peer.chunk(b"x" * 65_536)
        except OSError:
            hung_up.set()

    with pytest.raises(UpstreamUnavailableError):
        speak(start_service(start_upstream(script).url))
    assert hung_up.wait(WAIT_SECONDS)


def test_an_errors_body_that_trickles_is_not_waited_for_longer_than_the_read_timeout(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    hung_up = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.head("503 Service Unavailable", content_length="100000")
        try:
            while not hung_up.wait(0.02):
                peer.send(b" ")
        except OSError:
            hung_up.set()

    with pytest.raises(UpstreamBusyError):
        speak(start_service(start_upstream(script).url, read_seconds=0.2))
    assert hung_up.wait(WAIT_SECONDS)


def test_a_redirect_is_not_followed(start_upstream: StartUpstream, start_service: StartService) -> None:
    elsewhere = start_upstream(lambda peer: None)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b"", status="307 Temporary Redirect", location=elsewhere.url)

    with pytest.raises(UpstreamProtocolError) as caught:
        speak(start_service(start_upstream(script).url))
    assert caught.value.status == 307
    assert elsewhere.accepted == 0


@pytest.mark.parametrize("framing", ["chunked", "inside a chunk", "content-length", "reset"])
def test_a_body_that_breaks_off_is_a_protocol_error_after_what_had_come(
    start_upstream: StartUpstream, start_service: StartService, framing: str
) -> None:
    taken = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        if framing == "content-length":
            peer.head(content_length="1000")
            peer.send(b"first")
        else:
            peer.head(transfer_encoding="chunked")
            peer.chunk(b"first")
        if framing == "inside a chunk":
            peer.send(b"100\r\nabc")
        assert taken.wait(WAIT_SECONDS)
        if framing == "reset":
            peer.reset()

    stream = iter(start_service(start_upstream(script).url).generate_audio("Hello.", voice_id="v1"))
    got = next(stream)
    taken.set()
    with pytest.raises(UpstreamProtocolError) as caught:
        for piece in stream:
            got += piece
    assert got == (b"firstabc" if framing == "inside a chunk" else b"first")
    assert caught.value.code == "truncated"


def test_a_body_that_falls_silent_is_a_timeout(start_upstream: StartUpstream, start_service: StartService) -> None:
    hung_up = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.head(content_length="1000")
        peer.send(b"first")
        if peer.await_hang_up():
            hung_up.set()

    with pytest.raises(UpstreamTimeoutError) as caught:
        speak(start_service(start_upstream(script).url, read_seconds=0.2))
    assert caught.value.code == "read_timeout"
    assert hung_up.wait(WAIT_SECONDS)


def test_a_head_that_does_not_come_in_time_is_a_timeout_and_not_a_failed_connect(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-")
        peer.await_hang_up()

    with pytest.raises(UpstreamTimeoutError):
        speak(start_service(start_upstream(script).url, read_seconds=0.2))


@pytest.mark.parametrize("garbage", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"\x00\xff" * 50 + b"\r\n", b"x" * 100_000])
def test_an_answer_that_is_not_http_is_a_protocol_error(
    start_upstream: StartUpstream, start_service: StartService, garbage: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(garbage)

    with pytest.raises(UpstreamProtocolError):
        speak(start_service(start_upstream(script).url))


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/json"])
def test_a_success_that_is_not_audio_is_a_protocol_error(
    start_upstream: StartUpstream, start_service: StartService, content_type: str
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b"<html>Log in to the hotel's network</html>", content_type=content_type)

    with pytest.raises(UpstreamProtocolError) as caught:
        speak(start_service(start_upstream(script).url))
    assert caught.value.code == "wrong_content_type"


@pytest.mark.parametrize("rst", [False, True])
def test_a_server_that_hangs_up_without_an_answer_may_have_acted(
    start_upstream: StartUpstream, start_service: StartService, rst: bool
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        if rst:
            peer.reset()

    with pytest.raises(UpstreamUnavailableError) as caught:
        speak(start_service(start_upstream(script).url))
    assert type(caught.value) is UpstreamUnavailableError


def test_a_refused_connection_says_that_nothing_was_sent(start_service: StartService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(UpstreamConnectError) as caught:
        speak(start_service(f"http://127.0.0.1:{port}"))
    assert caught.value.code == "connect_failed"


def test_a_host_without_an_address_says_that_nothing_was_sent(start_service: StartService) -> None:
    with pytest.raises(UpstreamConnectError) as caught:
        speak(start_service("http://no-such-host.invalid"))
    assert caught.value.code == "name_not_resolved"
