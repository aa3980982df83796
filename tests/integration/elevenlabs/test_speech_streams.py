from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable

import pytest
from scripted_upstream import WAIT_SECONDS, Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import (
    UpstreamProtocolError,
)

StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]


def speak(service: ElevenLabsService) -> bytes:
    return b"".join(service.generate_audio("Hello.", voice_id="v1"))


@pytest.mark.parametrize("framing", ["chunked", "content-length", "until-close"])
def test_each_piece_is_handed_on_before_the_next_is_sent(
    start_upstream: StartUpstream, start_service: StartService, framing: str
) -> None:
    taken = threading.Semaphore(0)
    pieces = [b"first", b"second", b"third" * 30_000]

    def script(peer: Peer) -> None:
        peer.read_request()
        match framing:
            case "chunked":
                peer.head(transfer_encoding="chunked")
            case "content-length":
                peer.head(content_length=str(sum(map(len, pieces))))
            case _:
                peer.head(connection="close")
        for piece in pieces:
            (peer.chunk if framing == "chunked" else peer.send)(piece)
            assert taken.acquire(timeout=WAIT_SECONDS), "the piece was held back"
        if framing == "chunked":
            peer.chunk(b"")

    upstream = start_upstream(script)
    stream = iter(start_service(upstream.url).generate_audio("Hello.", voice_id="v1"))
    for piece in pieces:
        got = b""
        while len(got) < len(piece):
            got += next(stream)
        assert got == piece
        taken.release()
    assert next(stream, None) is None


def test_the_stream_is_returned_with_its_headers_before_the_first_byte_of_audio(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.head(
            content_length="1", Request_Id="r9", character_cost="12", current_concurrent_requests="2", server="x",
            set_cookie="a=b", tts_latency_ms="81",
        )  # fmt: skip
        assert go_on.wait(WAIT_SECONDS)
        peer.send(b"x")

    upstream = start_upstream(script)
    with start_service(upstream.url).generate_audio("Hello.", voice_id="v1") as stream:
        assert stream.headers == {
            "content-type": "audio/mpeg", "request-id": "r9", "character-cost": "12",
            "current-concurrent-requests": "2", "tts-latency-ms": "81",
        }  # fmt: skip
        assert stream.content_type == "audio/mpeg"
        go_on.set()
        assert b"".join(stream) == b"x"


def test_lines_arrive_whole_however_they_are_cut(start_upstream: StartUpstream, start_service: StartService) -> None:
    taken = threading.Event()

    def line(audio: bytes) -> bytes:
        alignment = {
            "characters": ["h", "i"],
            "character_start_times_seconds": [0, 0.1],
            "character_end_times_seconds": [0.1, 0.2],
        }
        document = {"audio_base64": base64.b64encode(audio).decode(), "alignment": alignment}
        return json.dumps(document).encode() + b"\n"

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.head(transfer_encoding="chunked", content_type="application/json")
        peer.chunk(line(b"one"))
        assert taken.wait(WAIT_SECONDS), "the first line was held back"
        rest = b"\n" + line(b"two") + line(b"three").rstrip()
        for start in range(0, len(rest), 7):
            peer.chunk(rest[start : start + 7])
        peer.chunk(b"")

    upstream = start_upstream(script)
    stream = start_service(upstream.url).stream_timed_audio("hi", voice_id="v1")
    first = next(stream)
    taken.set()
    assert [first.audio, *(piece.audio for piece in stream)] == [b"one", b"two", b"three"]
    assert first.alignment is not None
    assert first.alignment.characters == ("h", "i")
    assert first.alignment.ends_seconds == (0.1, 0.2)
    assert first.normalized_alignment is None


def test_timed_audio_in_one_piece_is_read(start_upstream: StartUpstream, start_service: StartService) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b'{"audio_base64":"aGk=","alignment":null}', content_type="application/json")

    timed = start_service(start_upstream(script).url).generate_timed_audio("hi", voice_id="v1")
    assert (timed.audio, timed.alignment) == (b"hi", None)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"audio_base64":"?"}', b'{"audio_base64":1}', b"\xff"])
def test_timed_audio_that_makes_no_sense_is_a_protocol_error(
    start_upstream: StartUpstream, start_service: StartService, body: bytes
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(body, content_type="application/json")

    with pytest.raises(UpstreamProtocolError):
        start_service(start_upstream(script).url).generate_timed_audio("hi", voice_id="v1")
