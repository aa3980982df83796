from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest
from scripted_upstream import WAIT_SECONDS, Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService, VoiceSettings
from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import (
    NotFoundError,
    RequestError,
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamConnectError,
    UpstreamKeyError,
    UpstreamProtocolError,
    UpstreamQuotaError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)

StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]


def speak(service: ElevenLabsService) -> bytes:
    return b"".join(service.generate_audio("Hello.", voice_id="v1"))


# --- What is sent


def test_every_given_field_is_sent_in_its_place_and_no_other(
    start_upstream: StartUpstream, start_service: StartService, key: str
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b"audio")

    upstream = start_upstream(script)
    stream = start_service(upstream.url).generate_audio(
        "Hóla.",
        voice_id="v/1",
        model_id="eleven_flash_v2_5",
        output_format="pcm_16000",
        voice_settings=VoiceSettings(stability=0.3, use_speaker_boost=False),
        seed=7,
        previous_request_ids=["r1"],
        enable_logging=False,
        optimize_streaming_latency=2,
    )
    assert stream.read_all() == b"audio"
    (request,) = upstream.requests
    target = urlsplit(request.target)
    assert (request.method, target.path) == ("POST", "/v1/text-to-speech/v%2F1/stream")
    assert dict(parse_qsl(target.query)) == {
        "output_format": "pcm_16000", "enable_logging": "false", "optimize_streaming_latency": "2",
    }  # fmt: skip
    assert json.loads(request.body) == {
        "text": "Hóla.",
        "model_id": "eleven_flash_v2_5",
        "voice_settings": {"stability": 0.3, "use_speaker_boost": False},
        "seed": 7,
        "previous_request_ids": ["r1"],
    }
    assert request.headers["xi-api-key"] == key
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("route", list(SpeechRoute))
def test_a_clients_own_query_and_body_pass_through_untouched(
    start_upstream: StartUpstream, start_service: StartService, route: SpeechRoute
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b"x", content_type="application/json" if route.is_json else "audio/mpeg")

    upstream = start_upstream(script)
    body = b'{ "text":"hi",  "a_new_field":[1, 2],"seed":1.0 }'
    query = [("output_format", "mp3_44100_128"), ("new", "a b&c"), ("new", "twice")]
    with start_service(upstream.url).open_speech(route, "v1", query=query, body=body) as stream:
        assert stream.read_all() == b"x"
    (request,) = upstream.requests
    target = urlsplit(request.target)
    assert target.path == f"/v1/text-to-speech/v1{route.value}"
    assert parse_qsl(target.query) == query
    assert request.body == body


@pytest.mark.parametrize("voice_id", ["", ".", ".."])
def test_a_voice_id_that_leads_to_another_route_is_refused_before_anything_is_sent(
    start_upstream: StartUpstream, start_service: StartService, voice_id: str
) -> None:
    upstream = start_upstream(lambda peer: None)
    with pytest.raises(NotFoundError) as caught:
        start_service(upstream.url).generate_audio("Hello.", voice_id=voice_id)
    assert caught.value.code == "voice_not_found"
    assert upstream.accepted == 0


@pytest.mark.parametrize(
    "voice_id", ["../..", "%2e%2e", "%2E%2E/%2e", "a/../../history", "a?b=c", "a#b", "a\r\nx: y", "a b", "ñ"]
)
def test_a_voice_id_stays_one_segment_of_the_path_whatever_is_in_it(
    start_upstream: StartUpstream, start_service: StartService, voice_id: str
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.answer(b"x")

    upstream = start_upstream(script)
    start_service(upstream.url).generate_audio("Hello.", voice_id=voice_id).read_all()
    segments = urlsplit(upstream.requests[0].target).path.split("/")
    assert len(segments) == 5
    assert segments[:3] + segments[4:] == ["", "v1", "text-to-speech", "stream"]
    assert "x" not in upstream.requests[0].headers


@pytest.mark.parametrize(
    ("text", "model_id", "code"),
    [
        ("", "eleven_multilingual_v2", "empty_text"),
        ("x" * 10_001, "eleven_multilingual_v2", "text_too_long"),
        ("x" * 3_001, "eleven_v3", "text_too_long"),
    ],
)
def test_a_text_that_elevenlabs_would_refuse_is_refused_before_anything_is_sent(
    start_upstream: StartUpstream, start_service: StartService, text: str, model_id: str, code: str
) -> None:
    upstream = start_upstream(lambda peer: None)
    with pytest.raises(RequestError) as caught:
        start_service(upstream.url).generate_audio(text, voice_id="v1", model_id=model_id)
    assert (caught.value.code, caught.value.type, caught.value.param) == (code, "validation_error", "text")
    assert upstream.accepted == 0


# --- How it arrives


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


# --- Connections


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


# --- How it fails


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


@pytest.mark.parametrize("bad", ["", "two words", "line\nbreak", "sk_caf\u00e9", "\u2026"])
def test_a_key_that_cannot_be_one_is_refused_before_anything_is_sent_and_not_shown(
    start_upstream: StartUpstream, start_service: StartService, bad: str
) -> None:
    upstream = start_upstream(lambda peer: None)
    with pytest.raises(UpstreamKeyError) as caught:
        speak(start_service(upstream.url, api_key=lambda: bad))
    assert not bad or bad not in str(caught.value)
    assert upstream.accepted == 0


def test_a_cookie_of_one_answer_is_not_sent_with_the_next_request(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(b"audio", set_cookie="session=one-users")

    upstream = start_upstream(script)
    service = start_service(upstream.url)
    speak(service)
    speak(service)
    assert all("cookie" not in request.headers for request in upstream.requests)


def test_the_key_is_asked_for_at_each_request(start_upstream: StartUpstream, start_service: StartService) -> None:
    def script(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(b"audio")

    upstream = start_upstream(script)
    keys = iter(["sk_old", "sk_new"])
    service = start_service(upstream.url, api_key=lambda: next(keys))
    speak(service)
    speak(service)
    assert [request.headers["xi-api-key"] for request in upstream.requests] == ["sk_old", "sk_new"]
