from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

import pytest
from scripted_upstream import WAIT_SECONDS, Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.pool_options import PoolOptions
from service.errors import PoolExhaustedError

StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]


def speak(service: ElevenLabsService) -> bytes:
    return b"".join(service.generate_audio("Hello.", voice_id="v1"))


def test_a_connection_is_used_again_after_each_kind_of_answer_that_was_read_to_its_end(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    def script(peer: Peer) -> None:
        for number in range(100):
            if peer.read_request() is None:
                return
            match number % 3:
                case 0:
                    peer.answer(b"audio")
                case 1:
                    peer.head(transfer_encoding="chunked")
                    peer.chunk(b"audio")
                    peer.chunk(b"")
                case _:
                    peer.answer(b'{"detail":"no"}', status="400 Bad Request")

    upstream = start_upstream(script)
    service = start_service(upstream.url)
    for _ in range(4):
        assert speak(service) == b"audio"
        assert speak(service) == b"audio"
        with pytest.raises(Exception, match="no"):
            speak(service)
    assert (upstream.accepted, len(upstream.requests)) == (1, 12)


def test_a_connection_that_the_server_ended_while_idle_is_replaced_unnoticed(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b"audio")
        peer.sock.shutdown(socket.SHUT_RDWR)
        ended.set()

    upstream = start_upstream(script)
    service = start_service(upstream.url)
    assert speak(service) == b"audio"
    assert ended.wait(WAIT_SECONDS)
    assert speak(service) == b"audio"
    assert upstream.accepted == 2


@pytest.mark.parametrize("manner", ["break", "close", "with", "generator", "exception", "never iterated"])
def test_a_consumer_that_stops_early_ends_the_connection(
    start_upstream: StartUpstream, start_service: StartService, manner: str
) -> None:
    hung_up = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.head(transfer_encoding="chunked")
        peer.chunk(b"first")
        if peer.await_hang_up():
            hung_up.set()

    class Killed(BaseException):
        """As gevent's GreenletExit."""

    stream = start_service(start_upstream(script).url).generate_audio("Hello.", voice_id="v1")
    match manner:
        case "break":
            for _ in stream:
                break
        case "close":
            next(iter(stream))
            stream.close()
            stream.close()
        case "with":
            with stream:
                pass
        case "generator":
            pieces = iter(stream)
            next(pieces)
            pieces.close()  # type: ignore[attr-defined]
        case "exception":
            with pytest.raises(Killed):
                for _ in stream:
                    raise Killed
        case _:
            del stream
    assert hung_up.wait(WAIT_SECONDS)


def test_many_streams_run_at_once_on_one_session(start_upstream: StartUpstream, start_service: StartService) -> None:
    together = threading.Barrier(20, timeout=WAIT_SECONDS)

    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            together.wait()
            peer.answer(json.loads(request.body)["text"].encode() * 1_000)

    upstream = start_upstream(script)
    service = start_service(upstream.url)
    got: dict[str, bytes] = {}

    def run(text: str) -> None:
        got[text] = b"".join(service.generate_audio(text, voice_id="v1"))

    threads = [threading.Thread(target=run, args=(f"<{number}>",)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert got == {f"<{number}>": f"<{number}>".encode() * 1_000 for number in range(20)}


def test_small_writes_are_not_held_back_by_the_kernel(
    start_upstream: StartUpstream, start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: list[tuple[object, ...]] = []
    inherited = socket.socket.setsockopt

    def noting(self: socket.socket, *option: object) -> None:
        options.append(option)
        inherited(self, *option)  # type: ignore[call-overload]

    monkeypatch.setattr(socket.socket, "setsockopt", noting)

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b"audio")

    speak(start_service(start_upstream(script).url))
    assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in options


def test_without_a_time_to_lie_idle_each_request_has_a_connection_of_its_own(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(b"audio")

    upstream = start_upstream(script)
    service = start_service(upstream.url, speech_pool=PoolOptions(max_idle_seconds=0))
    assert [speak(service) for _ in range(3)] == [b"audio"] * 3
    assert upstream.accepted == 3


def test_over_the_bound_a_request_is_refused_at_once_and_an_answer_that_ends_makes_room(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(b"audio")

    upstream = start_upstream(script)
    service = start_service(upstream.url, speech_pool=PoolOptions(max_size=1, max_waiting=0))
    with service.generate_audio("Hello.", voice_id="v1") as held:
        with pytest.raises(PoolExhaustedError, match="speech"):
            speak(service)
        assert len(upstream.requests) == 1
        assert held.read_all() == b"audio"
    assert speak(service) == b"audio"
    assert [stats.lent for stats in service.pool_stats() if stats.name == "speech"] == [0]
    assert upstream.accepted == 1
