"""What can be said of a sound by plain signal processing: how loud, clipped, holed, like speech, and how high it is.

The key decision: numbers here, judgements elsewhere (`defects.py`), so that a threshold can be set by looking at what
the numbers are for sounds that are known. Everything is counted in frames of 20 ms; what is 25 dB below the loudest is
a pause, as in ITU-T P.56.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from service.audio_quality.sample import Floats, Sound

Bools = npt.NDArray[np.bool_]

QUIETEST_DBFS = -120.0
FRAME_SECONDS = 0.02
_BELOW_LOUDEST_DB = 25.0
_FLAT_SAMPLES = 3  # so many alike in a row at the top are no wave
_NEAR_PEAK = 0.998
_LOUD_PEAK = 0.25  # what never comes near full scale was not cut off by it
_GAP_SECONDS = 0.008
_LONGEST_GAP_SECONDS = 0.15  # what is longer may be a pause between sentences
_EDGES_BELOW_DB = 20.0
_EDGE_SECONDS = 0.004
_ZERO = 2 / 32768
_PITCH_RATE = 8000
_PITCH_WINDOW = 400  # 50 ms
_LOWEST_HZ, _HIGHEST_HZ = 45.0, 600.0
_VOICED = 0.55
_FIRST_PEAK = 0.9
_FLATNESS_HZ = (150.0, 6000.0)
_VOWELS_BELOW_DB = 8.0  # what is louder is a vowel, where there is speech


@dataclass(frozen=True, kw_only=True)
class Signal:
    """What was measured: `level_dbfs` is that of the speech, `loudest_dbfs` of the loudest frames; `range_db` lies
    between loud and quiet frames; `flatness` is 0 for a tone and near 1 for white noise; `clipped_share` is of all
    samples, `gap_share` of the time; `pitch_hz` is None where no voice was found.
    """

    seconds: float
    level_dbfs: float
    loudest_dbfs: float
    range_db: float
    clipped_share: float
    gap_share: float
    gaps: int
    flatness: float
    pitch_hz: float | None


def measure(sound: Sound) -> Signal:
    """Measure a sound of any length; some 2 ms of CPU for each second."""
    levels = _frame_levels(sound)
    if not len(levels):
        levels = np.full(1, QUIETEST_DBFS)
    loudest = float(np.percentile(levels, 95))
    active = levels > loudest - _BELOW_LOUDEST_DB
    vowels = levels > loudest - _VOWELS_BELOW_DB
    power = np.mean(10 ** (levels[active] / 10)) if active.any() else 0.0
    gaps = _gap_lengths(sound, loudest)
    return Signal(
        seconds=sound.seconds,
        level_dbfs=max(QUIETEST_DBFS, float(10 * np.log10(power + 1e-12))),
        loudest_dbfs=loudest,
        range_db=loudest - float(np.percentile(levels, 10)),
        clipped_share=_clipped_share(sound.samples),
        gap_share=float(gaps.sum()) / max(1, len(sound.samples)),
        gaps=len(gaps),
        flatness=_flatness(sound, vowels),
        pitch_hz=_pitch(sound),
    )


def _frames(samples: Floats, size: int) -> Floats:
    count = len(samples) // size
    return samples[: count * size].reshape(count, size)


def _frame_levels(sound: Sound) -> npt.NDArray[np.float64]:
    """The level of each frame, in dB of full scale."""
    frames = _frames(sound.samples, round(FRAME_SECONDS * sound.rate))
    squares = np.mean(np.square(frames, dtype=np.float64), axis=1)
    levels: npt.NDArray[np.float64] = np.maximum(QUIETEST_DBFS, 10 * np.log10(squares + 1e-12))
    return levels


def _runs(flags: Bools) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each run of true values begins, and where it has ended."""
    edges = np.diff(np.concatenate(([0], flags.astype(np.int8), [0])))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _clipped_share(samples: Floats) -> float:
    peak = float(np.max(np.abs(samples), initial=0.0))
    if peak < _LOUD_PEAK:
        return 0.0
    begins, ends = _runs(np.abs(samples) >= peak * _NEAR_PEAK)
    lengths = ends - begins
    return float(lengths[lengths >= _FLAT_SAMPLES].sum()) / len(samples)


def _gap_lengths(sound: Sound, loudest_dbfs: float) -> npt.NDArray[np.int64]:
    """How many samples each hole has: digital silence with a loud sound right before and right behind it."""
    begins, ends = _runs(np.abs(sound.samples) <= _ZERO)
    lengths = ends - begins
    wanted = (lengths >= _GAP_SECONDS * sound.rate) & (lengths <= _LONGEST_GAP_SECONDS * sound.rate)
    edge = max(4, round(_EDGE_SECONDS * sound.rate))
    loud = 10 ** ((loudest_dbfs - _EDGES_BELOW_DB) / 20)
    found = [
        end - begin
        for begin, end in zip(begins[wanted], ends[wanted], strict=True)
        if _rms(sound.samples[max(0, begin - edge) : begin]) > loud and _rms(sound.samples[end : end + edge]) > loud
    ]
    return np.array(found, dtype=np.int64)


def _rms(samples: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0


def _flatness(sound: Sound, vowels: Bools) -> float:
    """The median, over the frames that should be vowels, of the spectrum's geometric mean over its arithmetic mean."""
    size = round(FRAME_SECONDS * sound.rate)
    frames = _frames(sound.samples, size)[vowels[: len(sound.samples) // size]]
    if not len(frames):
        return 0.0
    spectrum = np.square(np.abs(np.fft.rfft(frames * np.hanning(size), axis=1))) + 1e-14
    hertz = np.fft.rfftfreq(size, 1 / sound.rate)
    spectrum = spectrum[:, (hertz >= _FLATNESS_HZ[0]) & (hertz <= min(_FLATNESS_HZ[1], 0.45 * sound.rate))]
    return float(np.median(np.exp(np.mean(np.log(spectrum), axis=1)) / np.mean(spectrum, axis=1)))


def _pitch(sound: Sound) -> float | None:
    """The median pitch of the voiced parts, by autocorrelation."""
    samples = sound.samples
    if sound.rate != _PITCH_RATE:
        samples = soxr.resample(samples, sound.rate, _PITCH_RATE, quality="LQ")
    frames = _frames(samples, _PITCH_WINDOW)
    if not len(frames):
        return None
    frames = (frames - frames.mean(axis=1, keepdims=True)) * np.hanning(_PITCH_WINDOW)
    likeness = np.fft.irfft(np.square(np.abs(np.fft.rfft(frames, n=1024, axis=1))), axis=1)[:, :_PITCH_WINDOW]
    window = np.fft.irfft(np.square(np.abs(np.fft.rfft(np.hanning(_PITCH_WINDOW), n=1024))))[:_PITCH_WINDOW]
    energy = likeness[:, :1]
    loud = energy[:, 0] > 0.05 * np.percentile(energy, 95) + 1e-9
    if not loud.any():
        return None
    shortest, longest = round(_PITCH_RATE / _HIGHEST_HZ), round(_PITCH_RATE / _LOWEST_HZ)
    # Over the window's own likeness, or long periods would look less alike than they are.
    normal = likeness[loud, shortest:longest] / energy[loud] / (window[shortest:longest] / window[0])
    best = normal.max(axis=1)
    first = _first_peaks(normal, best)
    voiced = best > _VOICED
    if voiced.sum() < 3:
        return None
    return float(np.median(_PITCH_RATE / (first[voiced] + shortest)))


def _first_peaks(likeness: npt.NDArray[np.float64], best: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The shortest period that is nearly as good as the best one: two periods are as alike as one."""
    peaks = (likeness[:, 1:-1] >= likeness[:, :-2]) & (likeness[:, 1:-1] >= likeness[:, 2:])
    good = peaks & (likeness[:, 1:-1] >= _FIRST_PEAK * best[:, None])
    first: npt.NDArray[np.int64] = np.where(good.any(axis=1), good.argmax(axis=1) + 1, likeness.argmax(axis=1))
    return first
