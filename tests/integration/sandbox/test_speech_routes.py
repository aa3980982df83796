"""The four text-to-speech routes: real speech in every format, times, headers and refusals."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import requests

from tests.integration.sandbox.account import KEY, RACHEL, SENTENCE, Account
from tests.integration.sandbox.heard import LOUD, listen_file, listen_pcm

SPANISH = "El paquete salió de la tienda esta mañana y llegará el viernes."


def test_the_official_sdk_gets_a_whole_mp3(account: Account) -> None:
    audio = b"".join(account.sdk.text_to_speech.convert(RACHEL, text=SENTENCE, output_format="mp3_44100_128"))
    heard = listen_file(audio, "mp3")
    assert 2.5 < heard.seconds < 8
    assert heard.level > LOUD


def test_the_official_sdk_gets_a_stream_in_several_chunks(account: Account) -> None:
    chunks = list(account.sdk.text_to_speech.stream(RACHEL, text=SENTENCE, output_format="pcm_16000"))
    heard = listen_pcm(b"".join(chunks))
    assert len(chunks) > 5
    assert 2.5 < heard.seconds < 8
    assert heard.level > LOUD


def test_the_official_sdk_gets_the_time_of_every_character(account: Account) -> None:
    spoken = account.sdk.text_to_speech.convert_with_timestamps(RACHEL, text=SENTENCE, output_format="pcm_16000")
    heard = listen_pcm(base64.b64decode(spoken.audio_base_64))
    assert spoken.alignment is not None
    assert "".join(spoken.alignment.characters) == SENTENCE
    starts, ends = spoken.alignment.character_start_times_seconds, spoken.alignment.character_end_times_seconds
    assert starts == sorted(starts)
    assert all(start <= end for start, end in zip(starts, ends, strict=True))
    assert ends[-1] == pytest.approx(heard.seconds, abs=0.1)


def test_the_official_sdk_gets_times_line_by_line(account: Account) -> None:
    text = f"{SENTENCE} Thank you for waiting."
    pieces = list(account.sdk.text_to_speech.stream_with_timestamps(RACHEL, text=text, output_format="pcm_16000"))
    heard = listen_pcm(b"".join(base64.b64decode(piece.audio_base_64) for piece in pieces))
    characters = [letter for piece in pieces if piece.alignment for letter in piece.alignment.characters]
    starts = [start for piece in pieces if piece.alignment for start in piece.alignment.character_start_times_seconds]
    assert len(pieces) > 5
    assert "".join(characters) == text
    assert starts == sorted(starts)
    assert starts[-1] < heard.seconds


@pytest.mark.parametrize(
    ("output_format", "kind", "content_type"),
    [
        ("mp3_22050_32", "mp3", "audio/mpeg"),
        ("mp3_44100_192", "mp3", "audio/mpeg"),
        ("opus_48000_64", "ogg", "audio/ogg"),
        ("ulaw_8000", "mulaw", "audio/basic"),
        ("alaw_8000", "alaw", "audio/x-alaw-basic"),
        ("wav_16000", "wav", "audio/wav"),
    ],
)
def test_speech_is_heard_in_each_codec(account: Account, output_format: str, kind: str, content_type: str) -> None:
    answer = account.speak(query={"output_format": output_format})
    heard = listen_file(answer.content, kind)
    assert answer.headers["content-type"] == content_type
    assert 2.5 < heard.seconds < 8
    assert heard.level > LOUD


def test_a_faster_voice_is_done_sooner(account: Account) -> None:
    normal = listen_pcm(account.speak().content)
    fast = listen_pcm(account.speak(voice_settings={"speed": 1.2}).content)
    assert fast.seconds < 0.95 * normal.seconds


def test_a_spanish_text_is_spoken_in_spanish_by_an_english_voice(account: Account) -> None:
    guessed = listen_pcm(account.speak(text=SPANISH).content)
    told = listen_pcm(account.speak(text=SPANISH, language_code="es").content)
    english = listen_pcm(account.speak(text=SPANISH, language_code="en").content)
    assert guessed.seconds == pytest.approx(told.seconds, rel=0.01)
    assert english.seconds != pytest.approx(told.seconds, rel=0.01)


def test_the_headers_tell_cost_latency_and_concurrency(account: Account) -> None:
    answer = account.speak("/stream", model_id="eleven_flash_v2_5")
    assert answer.headers["character-cost"] == str(len(SENTENCE) // 2)
    assert answer.headers["current-concurrent-requests"] == "1"
    assert answer.headers["maximum-concurrent-requests"] == "10"
    assert int(answer.headers["tts-latency-ms"]) >= 0
    assert answer.headers["request-id"] == answer.headers["history-item-id"]
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "request-id" in answer.headers["access-control-expose-headers"]
    assert {"x-region", "x-trace-id"} <= set(answer.headers)


def test_a_browser_may_ask_from_any_origin(account: Account) -> None:
    answer = requests.options(f"{account.url}/v1/text-to-speech/{RACHEL}", timeout=5)
    assert answer.status_code == 200
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "*"


def test_the_oracle_remembers_what_was_asked_to_be_spoken(account: Account) -> None:
    account.speak("/stream").raise_for_status()
    stats = account.stats()
    assert stats["requests"] == {"tts.stream": 1}
    assert stats["statuses"] == {"200": 1}
    assert stats["characters"] == len(SENTENCE)
    assert stats["spoken"] == [{"route": "tts.stream", "voice_id": RACHEL, "text": SENTENCE}]
    assert stats["concurrency"]["speech_standard"] == {"now": 0, "peak": 1, "maximum": 5}


REFUSALS: list[tuple[dict[str, Any], int, str, str, str]] = [
    ({"text": ""}, 400, "validation_error", "empty_text", "empty_text"),
    ({"text": " \n "}, 400, "validation_error", "empty_text", "empty_text"),
    ({"text": "a" * 10_001}, 400, "validation_error", "text_too_long", "max_character_limit_exceeded"),
    ({"voice": "nobody"}, 404, "not_found", "voice_not_found", "voice_not_found"),
    ({"model_id": "eleven_nothing"}, 404, "not_found", "model_not_found", "model_not_found"),
    (
        {"model_id": "eleven_multilingual_sts_v2"}, 400,
        "validation_error", "unsupported_model", "model_can_not_do_text_to_speech",
    ),
    (
        {"model_id": "eleven_v3", "previous_text": "Hello."}, 400,
        "validation_error", "unsupported_model", "unsupported_model",
    ),
    (
        {"voice_settings": {"speed": 2.0}}, 400,
        "validation_error", "invalid_voice_settings", "invalid_voice_settings",
    ),
    (
        {"pronunciation_dictionary_locators": [{"pronunciation_dictionary_id": "a", "version_id": "b"}] * 4}, 400,
        "validation_error", "invalid_parameters", "invalid_parameters",
    ),
    ({"seed": 4_294_967_296}, 400, "validation_error", "invalid_parameters", "invalid_parameters"),
    ({"key": None}, 401, "authentication_error", "missing_api_key", "needs_authorization"),
    ({"key": "invalid-key"}, 401, "authentication_error", "invalid_api_key", "invalid_api_key"),
    (
        {"query": {"output_format": "pcm_44100"}}, 403,
        "authorization_error", "subscription_required", "output_format_not_allowed",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("request_parts", "status", "kind", "code", "legacy"), REFUSALS)
def test_a_refusal_has_the_shape_of_elevenlabs(
    account: Account, request_parts: dict[str, Any], status: int, kind: str, code: str, legacy: str
) -> None:
    answer = account.speak("/stream", **request_parts)
    detail = answer.json()["detail"]
    assert answer.status_code == status
    assert (detail["type"], detail["code"], detail["status"]) == (kind, code, legacy)
    assert detail["message"]
    assert detail["request_id"] == answer.headers["request-id"]
    assert account.stats()["spoken"] == []


@pytest.mark.parametrize(
    ("request_parts", "where"),
    [
        ({"text": None}, ["body", "text"]),
        ({"text": 5}, ["body", "text"]),
        ({"voice_settings": {"stability": 1.5}}, ["body", "voice_settings", "stability"]),
        ({"query": {"output_format": "flac_44100"}}, ["query", "output_format"]),
        ({"query": {"output_format": "wav_16000"}}, ["query", "output_format"]),
        ({"apply_text_normalization": "maybe"}, ["body", "apply_text_normalization"]),
    ],
)
def test_a_request_outside_the_schema_gets_fastapis_list(
    account: Account, request_parts: dict[str, Any], where: list[str]
) -> None:
    answer = account.speak("/stream", **request_parts)
    (problem,) = answer.json()["detail"]
    assert answer.status_code == 422
    assert problem["loc"] == where
    assert set(problem) == {"loc", "msg", "type"}


def test_a_body_that_is_no_json_is_outside_the_schema_too(account: Account) -> None:
    url = f"{account.url}/v1/text-to-speech/{RACHEL}"
    answer = requests.post(url, data=b"{", headers={"xi-api-key": KEY}, timeout=5)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["type"] == "json_invalid"


def test_an_unknown_path_is_not_found_as_fastapi_says_it(account: Account) -> None:
    answer = account.get("/v1/nothing-here")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_lines_of_the_timed_stream_are_whole_json_objects(account: Account) -> None:
    answer = account.speak("/stream/with-timestamps", query={"output_format": "mp3_44100_128"})
    lines = [json.loads(line) for line in answer.content.split(b"\n") if line]
    assert answer.content.endswith(b"\n")
    assert all(set(line) == {"audio_base64", "alignment", "normalized_alignment"} for line in lines)
    assert listen_file(b"".join(base64.b64decode(line["audio_base64"]) for line in lines), "mp3").level > LOUD
