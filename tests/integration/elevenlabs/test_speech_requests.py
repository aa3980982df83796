from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest
from scripted_upstream import Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService, VoiceSettings
from service.elevenlabs.keys import KeyChoice
from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import (
    NotFoundError,
    RequestError,
    UpstreamKeyError,
)
from service.secret import Secret
from tests.keys import one_key

StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]


def speak(service: ElevenLabsService) -> bytes:
    return b"".join(service.generate_audio("Hello.", voice_id="v1"))


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


@pytest.mark.parametrize("bad", ["", "two words", "line\nbreak", "sk_caf\u00e9", "\u2026"])
def test_a_key_that_cannot_be_one_is_refused_before_anything_is_sent_and_not_shown(
    start_upstream: StartUpstream, start_service: StartService, bad: str
) -> None:
    upstream = start_upstream(lambda peer: None)
    with pytest.raises(UpstreamKeyError) as caught:
        speak(start_service(upstream.url, keys=one_key(bad)))
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
    service = start_service(upstream.url, keys=KeyChoice(lambda: [Secret(next(keys))]))
    speak(service)
    speak(service)
    assert [request.headers["xi-api-key"] for request in upstream.requests] == ["sk_old", "sk_new"]
