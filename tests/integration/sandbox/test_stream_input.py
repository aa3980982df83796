"""The socket `stream-input`: text in, sound out, and what ends it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from scripts.launcher.waiting import wait_until
from tests.integration.sandbox.account import KEY, RACHEL, SECONDS, SENTENCE, Account, hear, say
from tests.integration.sandbox.heard import LOUD, listen_file, listen_pcm


def _until_final(socket: ClientConnection) -> list[dict[str, Any]]:
    """Give the frames up to the final one, which must be the last and be followed by a close with 1000."""
    frames = []
    while not (frame := hear(socket)).get("isFinal"):
        frames.append(frame)
    assert frame["audio"] is None
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(SECONDS)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000
    return frames


def _refused(socket: ClientConnection) -> tuple[dict[str, Any], int]:
    """Give the error frame and the close code that follows it."""
    frame = hear(socket)
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(SECONDS)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.reason
    return frame, closed.value.rcvd.code


def _sound(frames: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(frame["audio"]) for frame in frames)


def test_text_in_bits_comes_out_as_one_speech_with_times(account: Account) -> None:
    with account.socket() as socket:
        say(socket, text=" ", voice_settings={"stability": 0.5, "speed": 1.0})
        for word in SENTENCE.split():
            say(socket, text=f"{word} ")
        say(socket, text="")
        frames = _until_final(socket)
    heard = listen_pcm(_sound(frames))
    assert 2.5 < heard.seconds < 8
    assert heard.level > LOUD
    assert "".join("".join(frame["alignment"]["chars"]) for frame in frames if frame["alignment"]) == f"{SENTENCE} "


def test_times_are_relative_to_their_chunk(account: Account) -> None:
    with account.socket() as socket:
        say(socket, text=" ")
        say(socket, text=SENTENCE, flush=True)
        say(socket, text="")
        frames = _until_final(socket)
    assert len(frames) > 5
    for frame in frames[:-1]:
        milliseconds = listen_pcm(base64.b64decode(frame["audio"])).seconds * 1000
        alignment = frame["alignment"] or {"chars": [], "charStartTimesMs": [], "charDurationsMs": []}
        assert len(alignment["chars"]) == len(alignment["charStartTimesMs"]) == len(alignment["charDurationsMs"])
        assert all(0 <= start <= milliseconds + 50 for start in alignment["charStartTimesMs"])
        assert frame["normalizedAlignment"] == frame["alignment"]


@pytest.mark.filterwarnings("ignore:ConnectionClosed.code is deprecated")  # the SDK's own use of websockets
def test_the_official_sdk_speaks_while_it_reads(account: Account) -> None:
    def words() -> Iterator[str]:
        yield from SENTENCE.split(" ")

    client = account.sdk.text_to_speech
    client._ws_base_url = account.url.replace("http://", "ws://")  # it would insist on TLS otherwise
    chunks = client.convert_realtime(RACHEL, text=words(), output_format="mp3_44100_128", model_id="eleven_flash_v2_5")
    heard = listen_file(b"".join(chunks), "mp3")
    assert 2.5 < heard.seconds < 8
    assert heard.level > LOUD


def test_nothing_is_spoken_before_the_schedule_says_so(account: Account) -> None:
    with account.socket() as socket:
        say(socket, text=" ", generation_config={"chunk_length_schedule": [60, 500]})
        say(socket, text="Fifty characters are fewer than sixty, are they not. ")
        with pytest.raises(TimeoutError):
            socket.recv(0.3)
        say(socket, text="Now there are enough. ")
        assert listen_pcm(base64.b64decode(hear(socket)["audio"])).seconds > 0


def test_flush_speaks_what_there_is_and_keeps_the_socket_open(account: Account) -> None:
    with account.socket() as socket:
        say(socket, text=" ")
        say(socket, text="Short. ", flush=True)
        assert hear(socket)["audio"]
        say(socket, text="Again. ", flush=True)
        wait_until(lambda: len(account.stats()["spoken"]) == 2, SECONDS, "the second text")
    assert [each["text"] for each in account.stats()["spoken"]] == ["Short. ", "Again. "]


def test_try_trigger_generation_wants_fifty_characters(account: Account) -> None:
    with account.socket() as socket:
        say(socket, text=" ")
        say(socket, text="Too short. ", try_trigger_generation=True)
        with pytest.raises(TimeoutError):
            socket.recv(0.3)
        say(socket, text="But with this there are more than fifty characters. ", try_trigger_generation=True)
        assert hear(socket)["audio"]


def test_auto_mode_speaks_each_message_at_once(account: Account) -> None:
    with account.socket(auto_mode="true") as socket:
        say(socket, text=" ")
        say(socket, text="At once. ")
        assert hear(socket)["audio"]


def test_silence_for_too_long_ends_it_with_the_words_of_elevenlabs(account: Account) -> None:
    with account.socket(inactivity_timeout="0.2") as socket:
        say(socket, text=" ")
        frame, code = _refused(socket)
    assert code == 1008
    assert (frame["error"], frame["code"]) == ("input_timeout_exceeded", 1008)
    assert frame["message"].startswith(
        "Have not received a new text input within the timeout of 0.2 seconds. Streaming input terminated."
    )


def test_a_lone_space_keeps_it_open(account: Account) -> None:
    with account.socket(inactivity_timeout="0.8") as socket:
        say(socket, text=" ")
        for _ in range(4):
            with pytest.raises(TimeoutError):
                socket.recv(0.3)
            say(socket, text=" ")
        say(socket, text="Still here. ", flush=True)
        assert hear(socket)["audio"]


def test_a_key_in_the_first_message_is_as_good_as_one_in_the_header(account: Account) -> None:
    for first in ({"xi_api_key": KEY}, {"xi-api-key": KEY}, {"authorization": f"Bearer {KEY}"}):
        with account.socket(key=None) as socket:
            say(socket, text=" ", **first)
            say(socket, text="Hello. ", flush=True)
            assert hear(socket)["audio"]


SETTINGS = {"stability": 0.4}
REFUSALS: list[tuple[dict[str, Any], list[dict[str, Any]], str]] = [
    ({}, [{"text": "Hello"}], "invalid_message"),
    ({}, [{"flush": True}], "invalid_message"),
    ({}, [{"text": " "}, {"text": "a ", "voice_settings": SETTINGS}], "invalid_message"),
    ({}, [{"text": " ", "voice_settings": {"stability": 2}}], "invalid_message"),
    ({}, [{"text": " ", "voice_settings": {"speed": 9}}], "invalid_voice_settings"),
    ({}, [{"text": " ", "generation_config": {"chunk_length_schedule": [20]}}], "invalid_message"),
    ({"key": None}, [{"text": " "}], "missing_api_key"),
    ({"key": "invalid"}, [{"text": " "}], "invalid_api_key"),
    ({"voice": "nobody"}, [], "voice_not_found"),
    ({"model_id": "eleven_nothing"}, [], "model_not_found"),
    ({"output_format": "wav_16000"}, [], "invalid_parameters"),
    ({"inactivity_timeout": "181"}, [], "invalid_parameters"),
]


@pytest.mark.parametrize(("opening", "messages", "error"), REFUSALS)
def test_what_is_wrong_is_told_before_the_close(
    account: Account, opening: dict[str, Any], messages: list[dict[str, Any]], error: str
) -> None:
    with account.socket(**opening) as socket:
        for message in messages:
            say(socket, **message)
        frame, code = _refused(socket)
    assert (frame["error"], frame["code"], code) == (error, 1008, 1008)
    assert frame["message"]


def test_settings_may_be_repeated_unchanged(account: Account) -> None:
    with account.socket() as socket:
        say(socket, text=" ", voice_settings=SETTINGS)
        say(socket, text="Hello. ", voice_settings=SETTINGS, flush=True)
        assert hear(socket)["audio"]


@pytest.mark.parametrize("rubbish", ["", "{", "[]", "null", '"text"', b"\x00\x01"])
def test_rubbish_ends_it_and_nothing_else(account: Account, rubbish: str | bytes) -> None:
    with account.socket() as other, account.socket() as socket:
        say(other, text=" ")
        say(socket, text=" ")
        socket.send(rubbish)
        frame, code = _refused(socket)
        say(other, text="I am well. ", flush=True)
        assert hear(other)["audio"]
    assert (frame["error"], code) == ("invalid_message", 1008)


def test_the_v3_models_are_refused_before_the_upgrade(account: Account) -> None:
    with pytest.raises(InvalidStatus) as refused, account.socket(model_id="eleven_v3"):
        pytest.fail("the socket was opened")
    assert refused.value.response.status_code == 403
    assert json.loads(refused.value.response.body)["detail"]["code"] == "model_access_denied"


def test_open_sockets_are_counted(account: Account) -> None:
    with account.socket() as socket:
        say(socket, text=" ")
        say(socket, text="Hello. ", flush=True)
        hear(socket)
        assert account.stats()["open_sockets"] == {"tts.stream_input": 1}
        say(socket, text="")
        _until_final(socket)
    stats = account.stats()
    assert stats["open_sockets"] == {}
    assert stats["closes"] == {"1000": 1}
