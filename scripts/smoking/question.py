"""The spoken question: a recording, in the format that the agent listens to, as messages of a tenth of a second."""

from __future__ import annotations

import base64
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr

from service.conversation.sound_format import SoundFormat, read_sound_format
from service.elevenlabs.vocabulary import USER_AUDIO_KEY
from service.fallback.companding import Law, Samples, compress

RECORDING = Path(__file__).with_name("question-hours-en.wav")
WORDS = "Hello. What are your opening hours?"
CHUNK_SECONDS = 0.1
_LAWS: dict[str, Law] = {"ulaw": "ulaw", "alaw": "alaw"}


class SpokenQuestion:
    """The recording in the format of this name (`user_input_audio_format` of the metadata)."""

    def __init__(self, format_name: str) -> None:
        self._format = read_sound_format(format_name)
        with wave.open(str(RECORDING)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
            rate = file.getframerate()
        if rate != self._format.sample_rate:
            samples = soxr.resample(samples, rate, self._format.sample_rate)
        self._samples: Samples = samples

    def messages(self) -> Iterator[str]:
        """The question, to be sent a tenth of a second apart."""
        size = int(CHUNK_SECONDS * self._format.sample_rate)
        for begin in range(0, len(self._samples), size):
            yield _message(self._samples[begin : begin + size], self._format)

    def silence(self) -> str:
        """A tenth of a second of it: an agent takes the pause behind a question for its end."""
        return _message(np.zeros(int(CHUNK_SECONDS * self._format.sample_rate), dtype=np.int16), self._format)


def _message(samples: Samples, sound_format: SoundFormat) -> str:
    law = _LAWS.get(sound_format.codec)
    sound = compress(samples, law) if law else samples.astype("<i2").tobytes()
    return f'{{"{USER_AUDIO_KEY}":"{base64.b64encode(sound).decode()}"}}'
