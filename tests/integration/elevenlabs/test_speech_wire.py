"""The bytes of a request and its answer on real sockets: in how many pieces they travel, and what ends them."""

from __future__ import annotations

import itertools
import queue
import socket
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_upstream import WAIT_SECONDS, Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import UpstreamProtocolError

StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n"


def speak(service: ElevenLabsService) -> bytes:
    return b"".join(service.generate_audio("Hello.", voice_id="v1"))


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def test_a_request_arrives_whole_with_one_read(start_upstream: StartUpstream, start_service: StartService) -> None:
    arrived: list[bytes] = []

    def script(peer: Peer) -> None:
        arrived.append(peer.sock.recv(65_536))
        peer.send(HEAD + chunked(b"audio"))

    assert speak(start_service(start_upstream(script).url)) == b"audio"
    head, _, body = arrived[0].partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head.lower()
    assert body.startswith(b"{")
    assert body.endswith(b"}")


def test_answers_in_any_pieces_come_whole_one_after_the_other_on_one_connection(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    answers: queue.Queue[list[bytes]] = queue.Queue()

    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            for piece in answers.get(timeout=WAIT_SECONDS):
                peer.send(piece)

    upstream = start_upstream(script)
    service = start_service(upstream.url)

    @settings(deadline=None, max_examples=150)
    @given(
        st.lists(st.binary(min_size=1, max_size=200), max_size=8),
        st.lists(st.integers(1, 2_000), max_size=20, unique=True),
    )
    def test(chunks: list[bytes], places: list[int]) -> None:
        data = HEAD + chunked(*chunks)
        edges = [0, *sorted(place for place in places if place < len(data)), len(data)]
        answers.put([data[start:end] for start, end in itertools.pairwise(edges)])
        assert speak(service) == b"".join(chunks)

    test()
    assert upstream.accepted == 1


def test_a_body_that_trickles_byte_by_byte_is_whole(start_upstream: StartUpstream, start_service: StartService) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        for byte in HEAD + chunked(b"one", b"two and three"):
            peer.send(bytes([byte]))

    assert speak(start_service(start_upstream(script).url)) == b"onetwo and three"


def test_a_giant_chunk_is_handed_on_while_it_comes(start_upstream: StartUpstream, start_service: StartService) -> None:
    size = 40_000_000

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(HEAD + chunked(bytes(size)))

    with start_service(start_upstream(script).url).generate_audio("Hello.", voice_id="v1") as stream:
        sizes = [len(piece) for piece in stream]
    assert sum(sizes) == size
    assert max(sizes) <= 65_536


def test_an_answer_that_ends_anywhere_before_its_last_chunk_is_an_error_behind_what_had_come(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    body = chunked(b"first", b"second")
    stops = queue.Queue[int]()

    def script(peer: Peer) -> None:
        if peer.read_request() is not None:
            peer.send(HEAD + body[: stops.get(timeout=WAIT_SECONDS)])

    service = start_service(start_upstream(script).url)
    for stop in range(len(body) - len(b"\r\n")):
        stops.put(stop)
        got = b""
        with pytest.raises(UpstreamProtocolError) as caught:
            for piece in service.generate_audio("Hello.", voice_id="v1"):
                got += piece
        assert caught.value.code == "truncated"
        assert b"firstsecond".startswith(got)


@pytest.mark.parametrize("size", [b"x", b"-5", b"0x5", b"", b"5\r\nfirst5"])
def test_a_chunk_without_a_proper_size_is_an_error_and_ends_the_connection(
    start_upstream: StartUpstream, start_service: StartService, size: bytes
) -> None:
    hung_up: queue.Queue[bool] = queue.Queue()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(HEAD + size + b"\r\nhello\r\n0\r\n\r\n")
        hung_up.put(peer.await_hang_up())

    with pytest.raises(UpstreamProtocolError):
        speak(start_service(start_upstream(script).url))
    assert hung_up.get(timeout=WAIT_SECONDS)


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + chunked(b"audio") + b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\naudioother",
    ],
)
def test_what_nobody_asked_for_behind_an_answer_is_not_taken_for_the_next_one(
    start_upstream: StartUpstream, start_service: StartService, answer: bytes
) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.send(answer)

    upstream = start_upstream(script)
    service = start_service(upstream.url)
    assert [speak(service), speak(service)] == [b"audio", b"audio"]
    assert upstream.accepted == 2


def test_an_answer_that_comes_before_the_request_was_read_is_still_read(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    def script(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.send(HEAD + chunked(b"audio"))
        peer.sock.shutdown(socket.SHUT_WR)
        peer.await_hang_up()

    assert speak(start_service(start_upstream(script).url)) == b"audio"
