"""DNSMOS and PLCMOS: what people would say of a sound from 1 to 5, guessed by two small networks of Microsoft's.

The key decision: the weights of the `speechmos` wheel, without its code, which would bring librosa, pandas and a
hundred megabytes along for a spectrum that numpy makes in ten lines. DNSMOS (P.835, here its overall score) hears noise
and distortion, PLCMOS what was lost; each is blind for what the other hears (papers: doi 10.1109/ICASSP43922.2022.
9746108 and arXiv 2305.15127).

PLCMOS asks several raters, each a random vector; ours are always the same few, so that a sound always gets one score.
"""

from __future__ import annotations

import importlib.resources
import importlib.util
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from service.audio_quality.sample import Floats

RATE = 16_000
"""Samples a second that both models want."""

WINDOW = 144_160
"""Samples that DNSMOS hears: 9.01 s, never less."""

_PACKAGES = ("onnxruntime", "speechmos")
_OVERALL = (-0.06766283, 1.11546468, 0.04602535)  # from the network's number to the score, as speechmos has it
_LEAST_SAMPLES = 8_000  # PLCMOS takes some frames together
_RATERS = 2
_RATER_SIZE = 64
_RATER_SEED = 1
_FRAME, _HOP = 512, 256
_FLOOR = -120.0 / 10 * float(np.log(10))
_EMPTY = -80.0 / 10 * float(np.log(10))


class Models(Protocol):
    """What gives scores from 1 to 5 for sound of `RATE`."""

    def overall(self, samples: Floats) -> float:
        """DNSMOS' overall score of `WINDOW` samples."""

    def loss(self, samples: Floats) -> float:
        """PLCMOS' score of a sound of any length."""


def models_are_installed() -> bool:
    """Whether the `quality` extra is there."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


class SpeechModels:
    """Both networks, loaded; some 95 MB of memory, and one thread."""

    def __init__(self) -> None:
        runtime = importlib.import_module("onnxruntime")  # it may not be there at all
        options = runtime.SessionOptions()
        options.enable_cpu_mem_arena = False  # it would keep what the longest sound ever took
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        with importlib.resources.as_file(importlib.resources.files("speechmos")) as folder:
            self._dnsmos = _session(runtime, folder / "dnsmos_models" / "sig_bak_ovr.onnx", options)
            self._plcmos = _session(runtime, folder / "plcmos_models" / "plcmos_v2.onnx", options)
        self._raters = np.random.default_rng(_RATER_SEED).normal(size=(_RATERS, 1, _RATER_SIZE)).astype(np.float32)

    def overall(self, samples: Floats) -> float:
        """See `Models`; a shorter sound is repeated."""
        repeated = np.resize(samples, WINDOW)
        raw = self._dnsmos.run(None, {"input_1": repeated[np.newaxis].astype(np.float32)})[0][0][2]
        return _bounded(float(np.polyval(_OVERALL, raw)))

    def loss(self, samples: Floats) -> float:
        """See `Models`; one that is very short is repeated."""
        features = _features(np.resize(samples, max(len(samples), _LEAST_SAMPLES)))[np.newaxis, np.newaxis]
        scores = [
            float(self._plcmos.run(None, {"degraded_audio": features, "rater_embed": rater})[0])
            for rater in self._raters
        ]
        return _bounded(sum(scores) / len(scores))


def _session(runtime: Any, path: Path, options: Any) -> Any:
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _bounded(score: float) -> float:
    return min(5.0, max(1.0, score))


def _features(samples: Floats) -> npt.NDArray[np.float32]:
    """The logarithmic spectrum as PLCMOS was trained on it: 32 ms windows, half of each over the next."""
    frames = -(-(len(samples) + _HOP) // _HOP)
    padded = np.zeros((frames - 1) * _HOP + _FRAME, dtype=np.float32)
    padded[_HOP : _HOP + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FRAME)[::_HOP] * np.hamming(_FRAME + 1)[:-1]
    power = np.square(np.abs(np.fft.rfft(windows, axis=1)))
    heard = power > 0
    if not heard.any():
        return np.full(power.shape, _EMPTY / 20, dtype=np.float32)
    logarithm = np.log(np.where(heard, power, 1.0))
    logarithm[~heard] = np.log(power[heard].min()) + _FLOOR
    return (logarithm / 20).astype(np.float32)
