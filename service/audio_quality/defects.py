"""What is wrong with an answer, by what was measured of it and what is usual for its voice.

The key decision: each threshold lies in the middle of a wide gap between sound that is well and sound that is not, as
measured with recordings, a plain espeak and µ-law (tests/unit/audio_quality): a false alarm may take a provider away
from everybody. That an answer is played at the wrong rate needs two signs, its pitch and its length.
"""

from __future__ import annotations

from service.audio_quality.baselines import Baseline
from service.audio_quality.sample import Aligned, Sample
from service.audio_quality.signal_checks import Signal
from service.metrics_quality import Defect

FAULTS = frozenset({Defect.SILENT, Defect.TRUNCATED, Defect.NOISE, Defect.WRONG_RATE})
"""With these nobody understands a word: the provider has not answered."""

SHORTEST_SECONDS = 0.3
"""What is shorter ("Yes.") tells only whether it can be heard."""

_SILENT_DBFS = -50.0
_QUIET_DBFS = -42.0  # speech is usually between -16 and -28
_CLIPPED_SHARE = 0.002  # four times too loud: 0.004 to 0.05; well: 0
_GAP_SHARE = 0.004  # one packet of twenty lost: 0.007 to 0.03; well: 0
_NOISE_FLATNESS = 0.15  # speech, even with 10 dB of noise: up to 0.07; bytes read wrongly: from 0.24
_NOISE_RANGE_DB = 10.0  # speech with 10 dB of noise: 16; noise and tones: up to 9
_NOISE_SECONDS = 0.6
_USUAL_SECONDS_PER_CHARACTER = 1 / 15
_LEAST_CHARACTERS = 40  # shorter texts have digits, names and pauses that count for more
_LEAST_EXPECTED_SECONDS = 1.0
_SHORT_BY_ALIGNMENT, _SHORT_BY_PACE, _SHORT_BY_GUESS = 0.6, 0.45, 0.25
_LEAST_SHIFT = 1.4  # 24 kHz as 16 kHz or the other way round is 1.5
_SHIFTS_AGREE = 1.25
_HIGH_HZ, _LOW_HZ = 290.0, 68.0  # beyond nearly every voice's median


def defects_of(sample: Sample, signal: Signal, baseline: Baseline, aligned: Aligned | None = None) -> frozenset[Defect]:
    """Everything that is wrong; empty: nothing."""
    if signal.loudest_dbfs < _SILENT_DBFS:
        return frozenset({Defect.SILENT}) if signal.seconds >= SHORTEST_SECONDS else frozenset()
    found = set()
    if signal.seconds >= SHORTEST_SECONDS:
        if _is_noise(signal):
            return frozenset({Defect.NOISE})  # whatever else is measured of it means nothing
        if signal.level_dbfs < _QUIET_DBFS:
            found.add(Defect.QUIET)
        if signal.clipped_share > _CLIPPED_SHARE:
            found.add(Defect.CLIPPED)
        if signal.gap_share > _GAP_SHARE:
            found.add(Defect.GAPS)
    wrong_length = None if sample.is_cut else _wrong_length(sample, signal, baseline, aligned)
    if wrong_length is not None:
        found.add(wrong_length)
    return frozenset(found)


def _is_noise(signal: Signal) -> bool:
    is_flat = signal.seconds >= _NOISE_SECONDS and signal.range_db < _NOISE_RANGE_DB
    return is_flat or signal.flatness > _NOISE_FLATNESS


def _wrong_length(sample: Sample, signal: Signal, baseline: Baseline, aligned: Aligned | None) -> Defect | None:
    expected = sample.expected_seconds if aligned is None else sample.expected_seconds or aligned.seconds
    is_told = expected is not None and expected >= _LEAST_EXPECTED_SECONDS
    share, least_share = (signal.seconds / expected, _SHORT_BY_ALIGNMENT) if expected and is_told else (None, 0.0)
    if share is None and sample.characters >= _LEAST_CHARACTERS:
        pace = baseline.seconds_per_character
        expected = sample.characters * (pace or _USUAL_SECONDS_PER_CHARACTER)
        share, least_share = signal.seconds / expected, _SHORT_BY_GUESS if pace is None else _SHORT_BY_PACE
        is_told = pace is not None
    if share is None:
        return None
    if is_told and _is_shifted(share, signal, baseline):
        return Defect.WRONG_RATE
    return Defect.TRUNCATED if share < least_share or _misses_words(sample, aligned) else None


def _misses_words(sample: Sample, aligned: Aligned | None) -> bool:
    """Whether most characters of the text are not in the alignment; some (a tag, a sign) may never be spoken."""
    if aligned is None or sample.characters < _LEAST_CHARACTERS:
        return False
    return aligned.characters < _SHORT_BY_PACE * sample.characters


def _is_shifted(share: float, signal: Signal, baseline: Baseline) -> bool:
    """Whether the sound is as much too high as it is too short, or as much too low as it is too long."""
    if signal.pitch_hz is None or 1 / _LEAST_SHIFT < share < _LEAST_SHIFT:
        return False
    usual = baseline.pitch_hz
    if usual is None:
        return signal.pitch_hz > _HIGH_HZ if share < 1 else signal.pitch_hz < _LOW_HZ
    return 1 / _SHIFTS_AGREE < signal.pitch_hz / usual * share < _SHIFTS_AGREE
