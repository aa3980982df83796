"""What plain signal processing finds: all of what is broken, and nothing about what is well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import soxr

from service.audio_quality.baselines import LEAST_ANSWERS, Baseline
from service.audio_quality.defects import defects_of
from service.audio_quality.sample import Aligned, Sound
from service.audio_quality.signal_checks import measure
from service.metrics_quality import Defect
from tests.unit.audio_quality import damage
from tests.unit.audio_quality.damage import RECORDINGS, recording, sample_of

Change = Callable[[Sound], Sound]


def found(sound: Sound, baseline: Baseline | None = None, **fields: float | bool | None) -> set[Defect]:
    sample = sample_of(sound, characters=int(fields.get("characters") or 36), is_cut=bool(fields.get("is_cut")))
    expected = fields.get("expected_seconds")
    if expected is not None:
        sample = replace(sample, expected_seconds=expected)
    return set(defects_of(sample, measure(sound), baseline or Baseline()))


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize(
    "change",
    [
        lambda sound: sound,
        damage.telephone,
        lambda sound: damage.with_noise(sound, 20),
        lambda sound: damage.with_noise(sound, 10),
        lambda sound: damage.quieter(sound, 12),
        lambda sound: Sound(sound.samples[sound.rate : sound.rate * 3 // 2], sound.rate),
    ],
    ids=["clean", "telephone", "20 dB noise", "10 dB noise", "quieter", "a short word"],
)
def test_speech_that_can_be_understood_has_no_defect(name: str, change: Change) -> None:
    assert found(change(recording(name)), is_cut=True) == set()


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize(
    ("change", "defect"),
    [
        (damage.silent, Defect.SILENT),
        (lambda sound: damage.quieter(sound, 60), Defect.SILENT),
        (lambda sound: damage.quieter(sound, 28), Defect.QUIET),
        (damage.noise, Defect.NOISE),
        (damage.tone, Defect.NOISE),
        (damage.swapped_bytes, Defect.NOISE),
        (damage.pcm_as_telephone, Defect.NOISE),
        (damage.telephone_as_pcm, Defect.NOISE),
        (lambda sound: damage.clipped(sound, 15), Defect.CLIPPED),
        (lambda sound: damage.clipped(sound, 5), Defect.CLIPPED),
        (lambda sound: damage.with_drops(sound, 0.05), Defect.GAPS),
        (lambda sound: damage.with_drops(sound, 0.15), Defect.GAPS),
    ],
    ids=[
        "silence", "nearly silence", "quiet", "noise", "a tone", "swapped bytes", "pcm as telephone",
        "telephone as pcm", "clipped x15", "clipped x5", "5 % drops", "15 % drops",
    ],
)  # fmt: skip
def test_each_defect_is_found_and_no_other_one(name: str, change: Change, defect: Defect) -> None:
    assert found(change(recording(name))) == {defect}


def test_clean_speech_is_far_from_each_threshold_and_broken_speech_is_too() -> None:
    """The margins: a factor of two on both sides."""
    clean = [measure(recording(name)) for name in RECORDINGS]
    assert max(signal.flatness for signal in clean) < 0.075
    assert min(measure(damage.telephone_as_pcm(recording(name))).flatness for name in RECORDINGS) > 0.22
    assert max(signal.clipped_share for signal in clean) == 0
    assert min(measure(damage.clipped(recording(name), 15)).clipped_share for name in RECORDINGS) > 0.05
    assert max(signal.gap_share for signal in clean) == 0
    assert min(measure(damage.with_drops(recording(name), 0.05)).gap_share for name in RECORDINGS) > 0.005
    assert min(signal.range_db for signal in clean) > 20
    assert max(measure(damage.noise(recording(name))).range_db for name in RECORDINGS) < 5


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_a_gap_is_found_at_every_rate(rate: int) -> None:
    times = np.arange(2 * rate) / rate
    samples = (0.2 * np.sin(2 * np.pi * 150 * times) * (1 + np.sin(2 * np.pi * 3 * times))).astype(np.float32)
    assert measure(Sound(samples, rate)).gaps == 0
    samples[int(0.42 * rate) : int(0.44 * rate)] = 0
    assert measure(Sound(samples, rate)).gaps == 1


def usual(sound: Sound, characters: int = 36) -> Baseline:
    baseline = Baseline()
    signal = measure(sound)
    for _ in range(LEAST_ANSWERS):
        baseline.paces.append(signal.seconds / characters)
        baseline.pitches.append(signal.pitch_hz or 0.0)
    return baseline


@pytest.mark.parametrize("name", RECORDINGS)
def test_half_the_rate_is_told_from_half_the_answer_by_the_pitch(name: str) -> None:
    sound = recording(name)
    aligned = {"expected_seconds": sound.seconds}
    assert found(damage.half_rate(sound), usual(sound), **aligned) == {Defect.WRONG_RATE}
    assert found(damage.double_rate(sound), usual(sound), **aligned) == {Defect.WRONG_RATE}
    assert found(damage.truncated(sound, 0.5), usual(sound), **aligned) == {Defect.TRUNCATED}
    assert found(sound, usual(sound), **aligned) == set()


def test_half_the_rate_of_an_unknown_voice_is_broken_in_any_case() -> None:
    for name in RECORDINGS:
        sound = recording(name)
        assert found(damage.half_rate(sound), expected_seconds=sound.seconds) & {Defect.WRONG_RATE, Defect.TRUNCATED}


def test_a_wrong_rate_is_found_without_an_alignment_when_the_voice_is_known() -> None:
    sound = recording("barge-in-en")
    assert found(damage.half_rate(sound), usual(sound, 60), characters=60) == {Defect.WRONG_RATE}
    assert found(damage.truncated(sound, 0.35), usual(sound, 60), characters=60) == {Defect.TRUNCATED}
    assert found(damage.truncated(sound, 0.8), usual(sound, 60), characters=60) == set()


def test_another_voice_of_the_same_agent_is_no_wrong_rate() -> None:
    woman, man = recording("barge-in-en"), recording("question-price-en")
    assert found(woman, usual(man), expected_seconds=woman.seconds) == set()
    assert found(man, usual(woman), expected_seconds=man.seconds) == set()


def test_a_text_with_signs_that_nobody_speaks_is_not_truncated() -> None:
    sound = recording("barge-in-en")
    for characters, defects in ((36, set()), (70, set()), (120, {Defect.TRUNCATED})):
        sample = sample_of(sound, characters=characters)
        aligned = Aligned(seconds=sound.seconds, characters=36)
        assert set(defects_of(sample, measure(sound), Baseline(), aligned)) == defects


def test_a_high_voice_that_speaks_fast_is_no_wrong_rate() -> None:
    """By the text alone nobody knows how long it should be."""
    sound = Sound(soxr.resample(recording("question-hours-en").samples, 3, 2), 16_000)
    assert (measure(sound).pitch_hz or 0) > 290
    assert found(sound, characters=60) == set()


def test_the_length_of_a_part_tells_nothing() -> None:
    sound = damage.truncated(recording("barge-in-en"), 0.4)
    assert found(sound, characters=2000) == {Defect.TRUNCATED}
    assert found(sound, characters=2000, is_cut=True) == set()


@pytest.mark.parametrize("samples", [0, 1, 100, 500, 4000])
def test_a_sound_of_any_length_can_be_measured(samples: int) -> None:
    for value in (0.0, 0.5):
        signal = measure(Sound(np.full(samples, value, dtype=np.float32), 16000))
        assert np.isfinite(signal.level_dbfs)
        assert np.isfinite(signal.flatness)
