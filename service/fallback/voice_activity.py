"""Decide for each 20 ms of sound whether somebody speaks.

The key decision: two judges. An energy gate over a noise floor that it learns itself lets only sound through that
stands out; WebRTC's classifier (`webrtcvad-wheels`, in the `local` extra) then tells voice from other sound. Alone,
the classifier takes a mains hum for speech for ever, and the gate a slammed door. Without the extra the gate alone
decides, with a greater distance.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import Any

import numpy as np

FRAME_SECONDS = 0.02
_CLASSIFIER_RATES = (8000, 16000, 32000, 48000)
_CLASSIFIER_RATE_ELSE = 16000
_STRICTEST = 3
_QUIETEST_SPEECH = 60.0  # root mean square, about -55 dB of full scale
_FLOOR_RISE = 1.01  # a frame, so 4 dB a second: a steady hum is learned within 8 s, a vowel is not
_DISTANCE_BESIDE_CLASSIFIER = 2.0
_DISTANCE_ALONE = 4.0


class VoiceActivity:
    """Judges the frames of one stream, in order; it learns the stream's noise."""

    def __init__(self, sample_rate: int, *, classifier: bool = True) -> None:
        """Take the stream's rate in Hz; `classifier=False` judges by energy even where the extra is installed."""
        self._sample_rate = sample_rate
        self._classifier = _open_classifier() if classifier else None
        self._distance = _DISTANCE_ALONE if self._classifier is None else _DISTANCE_BESIDE_CLASSIFIER
        self._floor = math.inf  # the first frame sets it, so that a stream that begins with noise begins no speech

    def is_speech(self, frame: bytes) -> bool:
        """Judge `FRAME_SECONDS` of s16le mono sound."""
        samples = np.frombuffer(frame, dtype="<i2").astype(np.float32)
        loudness = float(np.sqrt(np.mean(samples * samples)))
        self._floor = max(1.0, min(loudness, self._floor * _FLOOR_RISE))
        if loudness < max(_QUIETEST_SPEECH, self._floor * self._distance):
            return False
        return self._classifier is None or self._is_voice(frame, samples)

    def _is_voice(self, frame: bytes, samples: np.ndarray[Any, Any]) -> bool:
        rate = self._sample_rate
        if rate not in _CLASSIFIER_RATES:
            rate = _CLASSIFIER_RATE_ELSE
            count = round(rate * FRAME_SECONDS)
            # Plain interpolation: its artefacts do not move the classifier, and frames stay independent.
            places = np.arange(count) * (len(samples) / count)
            frame = np.interp(places, np.arange(len(samples)), samples).astype("<i2").tobytes()
        return bool(self._classifier.is_speech(frame, rate)) if self._classifier else True


def _open_classifier() -> Any:
    if importlib.util.find_spec("webrtcvad") is None:
        return None
    return importlib.import_module("webrtcvad").Vad(_STRICTEST)
