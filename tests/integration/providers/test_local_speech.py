"""Speech requests that the backup answers: the same four routes, shapes and refusals as ElevenLabs'."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis
from flask import Flask
from werkzeug.test import Client, TestResponse

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.speech import read_timed_audio
from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import RequestError, ServiceUnavailableError, UpstreamError
from service.fallback.audio_formats import STREAMING_FORMATS
from service.fallback.backup_parts import BackupParts, PartsOptions
from service.fallback.backup_speech import BackupSpeech
from service.fallback.fallback_service import switched_off
from service.fallback.local_speech import LocalSpeech, LocalSpeechStream
from service.fallback.loudness import speech_level_dbfs
from service.fallback.tone_voice import ToneVoice
from service.fallback.voice_choice import VoiceMap
from service.key_limits import KeyLimits
from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget
from service.services import Services
from service.storage import ApiKeyLimits, Capability
from service.web import errors, speech
from service.web.request_log import RequestLog
from tests.integration.elevenlabs.scripted_upstream import Peer, ScriptedUpstream
from tests.keys import one_key
from tests.parts import require_module

TEXT = "Good day. We are open from nine to five, and on Saturdays until two."
VOICES = VoiceMap({"voice_of_a_man": {"*": "male"}}, has_remote=False)
Ask = Callable[..., LocalSpeechStream]


@pytest.fixture(scope="module")
def local_speech() -> Iterator[LocalSpeech]:
    require_module("espeakng_loader", "local")
    parts = BackupParts(PartsOptions())
    parts.start()
    yield LocalSpeech(parts, voices=VOICES)
    parts.close()


@pytest.fixture
def ask(local_speech: LocalSpeech) -> Ask:
    def ask_for(
        route: SpeechRoute, *, voice_id: str = "v1", query: str = "output_format=pcm_16000", **body: Any
    ) -> LocalSpeechStream:
        return local_speech.open(route, voice_id, query=query, body=json.dumps({"text": TEXT, **body}).encode())

    return ask_for


# --- Shapes


@pytest.mark.parametrize("route", [SpeechRoute.FULL, SpeechRoute.STREAM])
def test_bare_audio_is_speech_at_the_backups_loudness(ask: Ask, route: SpeechRoute) -> None:
    stream = ask(route)
    pieces = list(stream)

    assert stream.content_type == "audio/pcm"
    assert stream.headers == {"x-vocero-provider": "local"}
    assert len(pieces) > 3
    assert 3 * 32_000 < sum(map(len, pieces)) < 8 * 32_000
    assert abs(speech_level_dbfs(b"".join(pieces), 16_000) + 20) < 2


def test_timed_audio_is_one_object_whose_alignment_is_the_text(ask: Ask) -> None:
    stream = ask(SpeechRoute.WITH_TIMESTAMPS)
    timed = read_timed_audio(b"".join(stream))

    assert stream.content_type == "application/json"
    # Not the same bytes: no two runs of espeak-ng are quite alike.
    assert len(timed.audio) == pytest.approx(len(b"".join(ask(SpeechRoute.FULL))), rel=0.02)
    assert timed.alignment is not None
    assert "".join(timed.alignment.characters) == TEXT
    assert list(timed.alignment.starts_seconds) == sorted(timed.alignment.starts_seconds)
    assert timed.alignment.ends_seconds[-1] <= len(timed.audio) / 32_000 + 0.01


def test_streamed_timed_audio_is_an_object_a_line(ask: Ask) -> None:
    lines = b"".join(ask(SpeechRoute.STREAM_WITH_TIMESTAMPS)).splitlines()
    timed = [read_timed_audio(line) for line in lines]

    assert len(lines) > 3
    assert "".join(char for each in timed if each.alignment for char in each.alignment.characters) == TEXT
    sound = sum(len(each.audio) for each in timed)
    assert sound == pytest.approx(len(b"".join(ask(SpeechRoute.STREAM))), rel=0.02)


@pytest.mark.parametrize("name", ["ulaw_8000", "mp3_44100_128", "opus_48000_32", "pcm_24000"])
def test_every_kind_of_format_is_made(ask: Ask, name: str) -> None:
    require_module("av", "local")
    assert name in STREAMING_FORMATS

    assert len(b"".join(ask(SpeechRoute.STREAM, query=f"output_format={name}"))) > 4_000


def test_the_default_format_is_elevenlabs(ask: Ask) -> None:
    require_module("av", "local")
    assert ask(SpeechRoute.STREAM, query="").content_type == "audio/mpeg"


def test_a_wav_file_is_whole(ask: Ask) -> None:
    with wave.open(io.BytesIO(b"".join(ask(SpeechRoute.FULL, query="output_format=wav_16000")))) as file:
        assert file.getframerate() == 16_000
        assert file.getnframes() > 3 * 16_000


def test_voice_speed_and_language_are_followed(ask: Ask) -> None:
    usual = b"".join(ask(SpeechRoute.FULL))
    quick = b"".join(ask(SpeechRoute.FULL, voice_settings={"speed": 1.2}))
    man = b"".join(ask(SpeechRoute.FULL, voice_id="voice_of_a_man"))
    spanish = b"".join(ask(SpeechRoute.FULL, language_code="es"))

    assert len(quick) < 0.95 * len(usual)
    assert len({usual, man, spanish}) == 3


def test_a_listener_who_leaves_costs_nothing_more(ask: Ask) -> None:
    stream = ask(SpeechRoute.STREAM, text=f"{TEXT} " * 100)
    pieces = iter(stream)
    assert next(pieces)
    stream.close()

    assert list(pieces) == []


# --- Refusals


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{}", 422, "body.text"),
        (b'{"text": 7}', 422, "body.text"),
        (b'{"text": "a", "voice_settings": {"stability": 2}}', 422, "body.voice_settings.stability"),
        (b'{"text": " "}', 400, "text"),
        (b'{"text": "a", "voice_settings": {"speed": 9}}', 400, "voice_settings.speed"),
        (json.dumps({"text": "a" * 10_001}).encode(), 400, "text"),
        (json.dumps({"text": "a" * 3_001, "model_id": "eleven_v3"}).encode(), 400, "text"),
    ],
)
def test_what_elevenlabs_would_refuse_is_refused(
    local_speech: LocalSpeech, body: bytes, status: int, param: str
) -> None:
    with pytest.raises(RequestError) as refused:
        local_speech.open(SpeechRoute.FULL, "v1", query="output_format=pcm_16000", body=body)

    assert (refused.value.http_status, refused.value.param) == (status, param)
    assert refused.value.type == "validation_error"


@pytest.mark.parametrize("name", ["mp3", "wav_16000", "pcm_1"])
def test_a_format_that_the_route_does_not_have_is_refused(ask: Ask, name: str) -> None:
    with pytest.raises(RequestError) as refused:
        ask(SpeechRoute.STREAM, query=f"output_format={name}")
    assert (refused.value.http_status, refused.value.param) == (422, "query.output_format")


def test_a_wav_file_that_would_fill_the_memory_is_not_begun(ask: Ask) -> None:
    with pytest.raises(ServiceUnavailableError):
        ask(SpeechRoute.FULL, query="output_format=wav_48000", text="a " * 4_000)


def test_without_a_voice_there_is_no_speech() -> None:
    parts = BackupParts(PartsOptions(), open_local_voice=ToneVoice)
    parts.start()
    silent = LocalSpeech(parts, voices=VOICES)

    assert not silent.can_speak
    with pytest.raises(ServiceUnavailableError):
        silent.open(SpeechRoute.FULL, "v1", query="", body=b'{"text": "Hello."}')


# --- At the door


class Stage:
    """A door with a real ElevenLabs client behind it, whose upstream does what `script` says."""

    def __init__(
        self,
        local_speech: LocalSpeech | None,
        upstream: ScriptedUpstream,
        elevenlabs: ElevenLabsService,
        *,
        is_off: bool = False,
    ) -> None:
        self.upstream = upstream
        self.told: list[Any] = []
        self.forced = False
        self.helps = True
        app = Flask("door")
        errors.register(app)
        app.register_blueprint(speech.blueprint())
        services = SimpleNamespace(
            maintenance=SimpleNamespace(check=lambda: None),
            settings=SimpleNamespace(max_request_bytes=100_000),
            api_keys=SimpleNamespace(verify=lambda _: SimpleNamespace(limits=ApiKeyLimits())),
            key_limits=KeyLimits(redis.Redis()),  # which is not asked
            legs=SimpleNamespace(fallback=SimpleNamespace(check=self._check)),
            elevenlabs=elevenlabs,
        )
        self._is_off = is_off
        backup = local_speech and BackupSpeech(
            speech=local_speech,
            goes_first=lambda _: self.forced,
            takes_over=self._taken,
            primary_spoke=self.told.append,
        )
        door = speech.SpeechDoor(app.wsgi_app, cast(Services, services), trusted_hosts=None, backup=backup)
        self._client = Client(RequestLog(door, believes_given_ids=False))

    def _check(self, capability: Capability, provider: str) -> None:
        assert (capability, provider) == (Capability.SPEECH, "elevenlabs")
        if self._is_off:
            raise switched_off(capability)

    def _taken(self, error: Exception) -> bool:
        self.told.append(error)
        return self.helps

    def post(self, body: bytes = json.dumps({"text": TEXT}).encode()) -> TestResponse:
        return self._client.post(
            "/v1/text-to-speech/v1/stream?output_format=pcm_16000", data=body, headers={"xi-api-key": "k"}
        )


OpenStage = Callable[..., Stage]


@pytest.fixture
def open_stage(local_speech: LocalSpeech) -> Iterator[OpenStage]:
    with ExitStack() as stack:

        def start(
            script: Callable[[Peer], None], *, backup: LocalSpeech | None = local_speech, **options: Any
        ) -> Stage:
            def serve(peer: Peer) -> None:
                while peer.read_request() is not None:
                    script(peer)

            upstream = stack.enter_context(ScriptedUpstream(serve))
            once = Retrier(RetryPolicy(attempts=1), budget=RetryBudget())
            service = ElevenLabsService(upstream.url, keys=one_key("key"), retrier=once, read_seconds=5.0)
            return Stage(backup, upstream, stack.enter_context(service), **options)

        yield start


@pytest.mark.parametrize(("is_off", "status"), [(False, 200), (True, 503)])
def test_without_a_backup_an_order_is_obeyed_all_the_same(open_stage: OpenStage, is_off: bool, status: int) -> None:
    stage = open_stage(lambda peer: peer.answer(b"sound"), backup=None, is_off=is_off)
    assert stage.post().status_code == status
    assert len(stage.upstream.requests) == (0 if is_off else 1)


def test_while_elevenlabs_speaks_the_backup_is_silent(open_stage: OpenStage) -> None:
    stage = open_stage(lambda peer: peer.answer(b"sound"))
    answer = stage.post()

    assert (answer.data, answer.headers.get("x-vocero-provider")) == (b"sound", None)
    assert 0 < stage.told[0] < 5


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(lambda peer: peer.answer(b"{}", status="503 Service Unavailable"), id="503"),
        pytest.param(lambda peer: peer.answer(b""), id="200 without a sound"),
        pytest.param(lambda peer: peer.sock.close(), id="hangs up"),
    ],
)
def test_when_elevenlabs_fails_before_its_first_byte_the_backup_speaks(
    open_stage: OpenStage, script: Callable[[Peer], None]
) -> None:
    stage = open_stage(script)
    answer = stage.post()

    assert answer.status_code == 200
    assert answer.headers["x-vocero-provider"] == "local"
    assert answer.content_type == "audio/pcm"
    assert len(answer.data) > 32_000
    assert isinstance(stage.told[0], UpstreamError)


def test_a_fault_that_no_other_provider_mends_is_reported(open_stage: OpenStage) -> None:
    stage = open_stage(lambda peer: peer.answer(b'{"detail":{"code":"voice_not_found"}}', status="404 Not Found"))
    stage.helps = False

    assert stage.post().status_code == 404


def test_a_forced_backup_asks_nothing_of_elevenlabs(open_stage: OpenStage) -> None:
    stage = open_stage(lambda peer: peer.answer(b"sound"))
    stage.forced = True

    assert stage.post().headers["x-vocero-provider"] == "local"
    assert stage.upstream.requests == []


def test_a_bad_request_to_the_backup_is_worded_like_every_other(open_stage: OpenStage) -> None:
    stage = open_stage(lambda peer: peer.answer(b"sound"))
    stage.forced = True
    answer = stage.post(b'{"text": 7}')

    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["detail"]["param"] == "body.text"
