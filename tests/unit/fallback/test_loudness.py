"""How loud the backup's speech is, whoever speaks it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service.fallback.local_voice import EspeakVoice, SpokenPiece, ToneVoice, Voice
from service.fallback.loudness import LeveledVoice, speech_level_dbfs
from service.fallback.spoken_piece import align
from service.fallback.voice_variants import VOICE_VARIANTS
from tests.parts import require_module

TARGET = -20.0
TEXT = "Good morning. We are open from nine to five, and on Saturdays until two. Yes!"


class Scaled:
    """espeak-ng at another loudness."""

    kind = "scaled"

    def __init__(self, factor: float) -> None:
        self._factor = factor

    def speak(self, text: str, **options: Any) -> Iterator[SpokenPiece]:
        for piece in EspeakVoice().speak(text, **options):
            samples = np.frombuffer(piece.pcm, dtype="<i2") * self._factor
            pcm = np.clip(samples, -32768, 32767).astype("<i2").tobytes()
            yield SpokenPiece(piece.text, pcm, piece.sample_rate, piece.alignment)


def _levels(voice: Voice, **options: Any) -> list[float]:
    pieces = list(LeveledVoice(voice, target_dbfs=TARGET).speak(TEXT, **options))
    assert "".join(piece.text for piece in pieces) == TEXT
    return [speech_level_dbfs(piece.pcm, piece.sample_rate) for piece in pieces]


@pytest.mark.parametrize("variant", list(VOICE_VARIANTS))
def test_every_voice_of_espeak_comes_out_within_2_db_of_the_target(variant: str) -> None:
    require_module("espeakng_loader", "local")
    voice = LeveledVoice(EspeakVoice(), target_dbfs=TARGET)
    pcm = b"".join(piece.pcm for piece in voice.speak(TEXT, variant=variant))

    assert abs(speech_level_dbfs(pcm, 22_050) - TARGET) < 2.0


@pytest.mark.parametrize("factor", [0.05, 0.2, 1.0, 3.0])
def test_whatever_comes_in_goes_out_at_the_target(factor: float) -> None:
    require_module("espeakng_loader", "local")

    assert all(abs(level - TARGET) < 2.5 for level in _levels(Scaled(factor)))


def test_tones_come_out_at_the_target_too() -> None:
    assert all(abs(level - TARGET) < 2.0 for level in _levels(ToneVoice()))


def test_peaks_are_bent_and_never_wrap_around() -> None:
    class Clicks:
        kind = "clicks"

        def speak(self, text: str, **_: Any) -> Iterator[SpokenPiece]:
            samples = np.zeros(16_000, dtype="<i2")
            samples[::400] = 30_000
            yield SpokenPiece(text, samples.tobytes(), 16_000, align(text, (), 1.0))

    piece = next(LeveledVoice(Clicks(), target_dbfs=-12.0).speak("tick"))
    samples = np.frombuffer(piece.pcm, dtype="<i2")

    assert samples.min() >= 0
    assert 30_000 < samples.max() <= 32_767


def test_silence_stays_silence() -> None:
    class Silence:
        kind = "silence"

        def speak(self, text: str, **_: Any) -> Iterator[SpokenPiece]:
            yield SpokenPiece(text, bytes(32_000), 16_000, align(text, (), 1.0))
            yield SpokenPiece(text, b"", 16_000, align(text, (), 0.0))

    pieces = list(LeveledVoice(Silence(), target_dbfs=TARGET).speak("."))

    assert [len(piece.pcm) for piece in pieces] == [32_000, 0]
    assert not any(pieces[0].pcm)
    assert speech_level_dbfs(pieces[0].pcm, 16_000) == -math.inf


def test_pauses_do_not_count_as_quiet_speech() -> None:
    rate = 16_000
    tone = (10_000 * np.sin(np.arange(rate) / 20)).astype("<i2").tobytes()

    assert speech_level_dbfs(tone, rate) == pytest.approx(speech_level_dbfs(tone + bytes(8 * rate), rate), abs=0.5)
