"""How loud speech is, and a voice that is brought to a loudness.

The key decision: measured over what is speech, as ITU-T P.56 does, so that pauses make nothing louder; and over all
sentences of an answer so far, so that a short one does not jump out. Peaks are bent, not cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from service.fallback.local_voice import Voice
from service.fallback.spoken_piece import SpokenPiece

Floats = npt.NDArray[np.floating[Any]]

FRAME_SECONDS = 0.02
BELOW_LOUDEST_DB = 25.0
"""What is that much quieter than the loudest frames is a pause, or the end of a word."""

MOST_GAIN_DB = 24.0
_KNEE = 0.8  # of full scale: what is above is bent
_FULL_SCALE = 32768.0


def speech_level_dbfs(pcm: bytes, sample_rate: int) -> float:
    """The root mean square of the frames of s16le mono sound that are speech, in dB of full scale; -inf for silence."""
    energy, frames = _speech_energy(_floats(pcm), sample_rate)
    return 10 * math.log10(energy / frames) if energy > 0 else -math.inf


class LeveledVoice:
    """`voice`, as loud as `target_dbfs`."""

    def __init__(self, voice: Voice, *, target_dbfs: float) -> None:
        self._voice = voice
        self._target_dbfs = target_dbfs

    @property
    def kind(self) -> str:
        """The kind of the voice behind."""
        return self._voice.kind

    def speak(
        self, text: str, *, language: str = "en", speed: float = 1.0, variant: str | None = None
    ) -> Iterator[SpokenPiece]:
        """Yield the pieces of the voice behind, at the right loudness; raises what that one does."""
        energy, frames = 0.0, 0
        for piece in self._voice.speak(text, language=language, speed=speed, variant=variant):
            samples = _floats(piece.pcm)
            more_energy, more_frames = _speech_energy(samples, piece.sample_rate)
            energy, frames = energy + more_energy, frames + more_frames
            yield piece if energy <= 0 else replace(piece, pcm=_scaled(samples, self._gain(energy / frames)))

    def _gain(self, mean_square: float) -> float:
        wanted = self._target_dbfs - 10 * math.log10(mean_square)
        return float(10 ** (min(max(wanted, -MOST_GAIN_DB), MOST_GAIN_DB) / 20))


def _floats(pcm: bytes) -> Floats:
    return np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2").astype(np.float32) / _FULL_SCALE


def _speech_energy(samples: Floats, sample_rate: int) -> tuple[float, int]:
    """The sum of the mean squares of the frames that are speech, and their number."""
    size = max(1, round(FRAME_SECONDS * sample_rate))
    count = len(samples) // size
    if count == 0:
        return 0.0, 0
    squares = np.mean(np.square(samples[: count * size].reshape(count, size)), axis=1)
    loudest = float(np.percentile(squares, 95))
    if loudest <= 0:
        return 0.0, 0
    speech = squares[squares > loudest * 10 ** (-BELOW_LOUDEST_DB / 10)]
    return float(speech.sum()), len(speech)


def _scaled(samples: Floats, gain: float) -> bytes:
    scaled = samples * gain
    size = np.abs(scaled)
    room = 1.0 - _KNEE
    bent = np.where(size > _KNEE, np.sign(scaled) * (_KNEE + room * np.tanh((size - _KNEE) / room)), scaled)
    return np.clip(np.rint(bent * _FULL_SCALE), -32768, 32767).astype("<i2").tobytes()
