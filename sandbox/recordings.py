"""Read an uploaded recording: raw samples, a wav file, or whatever FFmpeg reads when it is there."""

from __future__ import annotations

import importlib
import importlib.util
import io
import wave
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sandbox.errors import ApiError
from service.errors import RequestError

RAW_RATE = 16_000
_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True)
class Recording:
    """s16le mono sound of `sample_rate` Hz."""

    pcm: bytes
    sample_rate: int

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return len(self.pcm) / (_BYTES_PER_SAMPLE * self.sample_rate)

    def windows(self, seconds: float) -> Iterator[tuple[float, bytes]]:
        """Give parts of at most so many seconds, each with its begin."""
        step = int(seconds * self.sample_rate) * _BYTES_PER_SAMPLE
        for offset in range(0, max(1, len(self.pcm)), step):
            yield offset / (_BYTES_PER_SAMPLE * self.sample_rate), self.pcm[offset : offset + step]


def read_recording(data: bytes, *, raw_pcm: bool) -> Recording:
    """Read an upload; `raw_pcm` says that it is 16 kHz s16le mono (ElevenLabs' `pcm_s16le_16`).

    Raises:
        ApiError: it holds no sound that can be read here.
    """
    if raw_pcm:
        return Recording(data[: len(data) // _BYTES_PER_SAMPLE * _BYTES_PER_SAMPLE], RAW_RATE)
    return _read_wav(data) or _read_with_ffmpeg(data)


def _read_wav(data: bytes) -> Recording | None:
    try:
        with wave.open(io.BytesIO(data)) as file:
            if file.getsampwidth() != _BYTES_PER_SAMPLE:
                return None
            frames = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
            channels, rate = file.getnchannels(), file.getframerate()
    except (wave.Error, EOFError, ValueError):
        return None
    mono = frames[: len(frames) // channels * channels].reshape(-1, channels).mean(axis=1)
    return Recording(mono.astype("<i2").tobytes(), rate)


def _read_with_ffmpeg(data: bytes) -> Recording:
    if importlib.util.find_spec("av") is None:
        message = "Only wav files can be read without FFmpeg: pip install 'vocero[local]' for others."
        raise ApiError("invalid_audio", message, param="file")
    # As in the encoders: FFmpeg is 60 MB that is loaded only for those who need it.
    compressed = importlib.import_module("service.fallback.compressed_audio")
    try:
        pcm: bytes = compressed.decode_file(data, sample_rate=RAW_RATE)
    except RequestError as exc:
        raise ApiError("invalid_audio", exc.message, param="file") from exc
    return Recording(pcm, RAW_RATE)
