"""Listen to encoded sound as a person would: how long it is and how loud."""

from __future__ import annotations

import io
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

LOUD = 0.01
"""Root mean square of full scale: speech has about 0.05 to 0.2, silence nothing."""


@dataclass(frozen=True)
class Heard:
    """`seconds` of sound with a `level` (root mean square of full scale, 0 to 1)."""

    seconds: float
    level: float


def listen_pcm(pcm: bytes, rate: int = 16_000) -> Heard:
    """Listen to s16le mono sound."""
    return _heard(np.frombuffer(pcm, dtype="<i2").astype(np.float64) / 32768, rate)


def listen_file(data: bytes, kind: str) -> Heard:
    """Decode sound in FFmpeg's container format `kind` (mp3, ogg, wav, mulaw, alaw) and listen to it."""
    options = {"sample_rate": "8000"} if kind in ("mulaw", "alaw") else {}
    with av.open(io.BytesIO(data), format=kind, options=options) as container:
        stream = container.streams.audio[0]
        rate = stream.rate
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        parts: list[NDArray[np.float64]] = []
        for frame in container.decode(stream):
            parts.extend(part.to_ndarray()[0].astype(np.float64) for part in resampler.resample(frame))
    return _heard(np.concatenate(parts), rate)


def _heard(samples: NDArray[np.float64], rate: int) -> Heard:
    level = float(np.sqrt(np.mean(samples * samples))) if len(samples) else 0.0
    return Heard(seconds=len(samples) / rate, level=level)
