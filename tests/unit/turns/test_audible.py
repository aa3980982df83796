"""Whether an answer's sound can be heard."""

from __future__ import annotations

import random
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.conversation.audible import Audibility, AudibleCheck
from service.conversation.sound_format import read_sound_format
from service.fallback import companding
from tests.unit.turns.talks import audio, voice

PCM = read_sound_format("pcm_16000")
NOISE = random.Random(7)


def heard(sound: bytes, name: str = "pcm_16000", *, message_bytes: int = 3_200) -> Audibility:
    """The verdict on a sound that comes in messages of so many bytes."""
    check = AudibleCheck(read_sound_format(name))
    verdict = Audibility.UNKNOWN
    for begin in range(0, len(sound), message_bytes):
        message = audio(1, sound[begin : begin + message_bytes])
        verdict = check.listen(bytearray(b"x" + message + b"x"), 1, 1 + len(message))
    return verdict


def hiss(seconds: float, loudest: int) -> bytes:
    return array("h", (NOISE.randint(-loudest, loudest) for _ in range(int(seconds * 16_000)))).tobytes()


def in_law(sound: bytes, law: companding.Law) -> bytes:
    return companding.compress(np.frombuffer(sound, dtype="<i2"), law)


def test_a_voice_is_heard_at_once():
    assert heard(voice(0.1)) is Audibility.AUDIBLE


def test_a_quiet_voice_is_a_voice():
    assert heard(voice(0.5, loudness=400)) is Audibility.AUDIBLE


def test_a_voice_behind_a_pause_is_a_voice():
    assert heard(bytes(32_000) + voice(0.2)) is Audibility.AUDIBLE


@pytest.mark.parametrize("silence", [bytes(70_000), hiss(2.2, 20)], ids=["digital", "nearly"])
def test_two_seconds_of_silence_are_a_silent_answer(silence):
    assert heard(silence) is Audibility.SILENT


def test_a_short_pause_is_no_verdict():
    assert heard(bytes(40_000)) is Audibility.UNKNOWN


@pytest.mark.parametrize("law", ["ulaw", "alaw"])
def test_the_codes_of_telephony_are_understood(law):
    name = f"{law}_8000"
    assert heard(in_law(hiss(2.2, 20), law), name) is Audibility.SILENT
    assert heard(in_law(voice(0.1), law), name) is Audibility.AUDIBLE


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4_000))
def test_it_does_not_matter_where_messages_cut_the_sound(message_bytes):
    """Half a sample's bytes, taken for the other half's, would make a nearly silent sound a loud one."""
    message_bytes = max(message_bytes, 401)
    assert heard(hiss(2.3, 3), message_bytes=message_bytes) is Audibility.SILENT
    assert heard(bytes(20_000) + voice(0.5), message_bytes=message_bytes) is Audibility.AUDIBLE


@pytest.mark.parametrize("garbage", [b"", b"[]", b'{"audio_event":{"audio_base_64":""}}', b'{"audio_base_64":"A"}'])
def test_what_is_no_sound_is_no_verdict(garbage):
    assert AudibleCheck(PCM).listen(garbage, 0, len(garbage)) is Audibility.UNKNOWN


def test_letters_that_are_no_base64_are_no_voice():
    message = b'{"type":"audio","audio_event":{"audio_base_64":"' + b"-" * 90_000 + b'","event_id":1}}'
    assert AudibleCheck(PCM).listen(message, 0, len(message)) is Audibility.SILENT
