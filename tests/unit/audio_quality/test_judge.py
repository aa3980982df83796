"""Scores: in the right order, shared by answers that were heard together, and only of speech."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from service.audio_quality import judge as judging
from service.audio_quality.baselines import KEPT_VOICES, LEAST_ANSWERS, Baselines
from service.audio_quality.judge import Judge, Score, Verdict
from service.audio_quality.sample import AnswerName, Floats, Sound, UnreadableSoundError
from service.audio_quality.speech_models import WINDOW, SpeechModels
from service.metrics_quality import Defect
from tests.unit.audio_quality import damage
from tests.unit.audio_quality.damage import recording, sample_of


@dataclass
class Guesses:
    """Models that say what they are told to, and remember what they heard."""

    says: float = 4.0
    heard: list[int] = field(default_factory=list)

    def overall(self, samples: Floats) -> float:
        self.heard.append(len(samples))
        return self.says

    def loss(self, samples: Floats) -> float:
        return self.says


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def score_of(models: SpeechModels, sound: Sound) -> float:
    return (models.overall(sound.samples) + models.loss(sound.samples)) / 2


def test_damage_lowers_the_score(models: SpeechModels) -> None:
    """Measured with all four recordings: clean 3.44 to 3.96; lower by 1.1 to 1.7 when clipped, by 0.4 to 1.4 with 15 %
    drops, by 0.9 to 1.2 with noise, by 0.08 to 0.3 with 5 % drops. A plain espeak: clean 3.0 and 3.2, and the same
    order; its distances are 0.9, 0.6, 0.8 and 0.07 at least."""
    clean = recording("barge-in-en")
    score = score_of(models, clean)
    assert score > 3.6
    assert score_of(models, damage.clipped(clean, 15)) < score - 0.8
    assert score_of(models, damage.with_drops(clean, 0.15)) < score - 0.7
    assert score_of(models, damage.with_noise(clean, 20)) < score - 0.6
    assert score - 0.7 < score_of(models, damage.with_drops(clean, 0.05)) < score - 0.1


def test_models_hear_what_their_authors_say_they_hear(models: SpeechModels) -> None:
    """DNSMOS and PLCMOS as speechmos itself computes them (of 15 random raters), measured once with its own code."""
    clean = recording("barge-in-en").samples
    assert models.overall(clean) == pytest.approx(3.43, abs=0.03)
    assert models.loss(clean) == pytest.approx(4.42, abs=0.1)
    assert models.loss(clean) == models.loss(clean)


def test_models_take_a_sound_of_any_length(models: SpeechModels) -> None:
    for length in (1, 400, 16_000):
        assert 1.0 <= models.loss(np.zeros(length, dtype=np.float32)) <= 5.0
    assert 1.0 <= models.overall(np.full(10, 0.1, dtype=np.float32)) <= 5.0


def judged(judge: Judge, name: str = "barge-in-en", times: int = 1, voice: str = "voice") -> list[Verdict]:
    return [judge.judge(sample_of(recording(name), voice=voice)) for _ in range(times)]


def test_short_answers_of_a_voice_are_scored_together_in_one_window() -> None:
    models = Guesses()
    verdicts = judged(Judge(models), times=5)
    assert [len(each.scores) for each in verdicts] == [0, 0, 0, 0, 5]
    assert all(each.will_be_scored for each in verdicts)
    assert models.heard == [WINDOW]
    assert {each.score for each in verdicts[-1].scores} == {4.0}


def test_a_score_is_that_of_the_answer_that_got_it_whoever_asked_last() -> None:
    judge = Judge(Guesses())
    names = [AnswerName(f"conv_{number}", 1, number, 0.0) for number in range(5)]
    verdicts = [judge.judge(replace(sample_of(recording("barge-in-en")), answer=name)) for name in names]
    assert [score.answer for score in verdicts[-1].scores] == names


def test_answers_of_different_voices_are_not_put_together() -> None:
    judge = Judge(Guesses())
    verdicts = [verdict for voice in "abcde" for verdict in judged(judge, voice=voice)]
    assert [each.scores for each in verdicts] == [()] * 5


def test_an_answer_that_has_waited_for_long_is_scored_with_what_there_is() -> None:
    clock = Clock()
    judge = Judge(Guesses(), clock=clock)
    judged(judge, voice="a")
    clock.now += judging.OLDEST_SECONDS + 1
    assert len(judged(judge, voice="b")[0].scores) == 1


def test_few_voices_wait_at_a_time() -> None:
    judge = Judge(Guesses())
    scores = 0
    for number in range(judging.MOST_WAITING + 3):
        scores += len(judged(judge, voice=f"voice {number}")[0].scores)
    assert scores == 3


@pytest.mark.parametrize(
    ("change", "defect", "score"),
    [(damage.silent, Defect.SILENT, 1.0), (damage.noise, Defect.NOISE, 1.0)],
    ids=["silence", "noise"],
)
def test_what_is_no_speech_is_not_shown_to_the_models(change: object, defect: Defect, score: float) -> None:
    models = Guesses()
    sound = change(recording("barge-in-en"))  # type: ignore[operator]
    verdict = Judge(models).judge(sample_of(sound))
    assert verdict.defects == {defect}
    assert verdict.scores == (Score("elevenlabs", score, None),)
    assert models.heard == []


def test_a_broken_answer_is_measured_against_the_baseline_and_does_not_change_it() -> None:
    judge = Judge(Guesses(says=4.0))
    judged(judge, times=LEAST_ANSWERS)
    for _ in range(3):
        verdict = judge.judge(sample_of(damage.noise(recording("barge-in-en"))))
        assert verdict.scores == (Score("elevenlabs", 1.0, -3.0),)


def test_a_voice_that_gets_worse_is_told_by_its_deviation() -> None:
    models = Guesses(says=4.0)
    judge = Judge(models)
    judged(judge, times=10)
    models.says = 3.0
    assert {each.deviation for each in judged(judge, times=5)[-1].scores} == {-1.0}


def test_an_alignment_tells_the_rate_and_the_length() -> None:
    judge, sound = Judge(None), recording("barge-in-en")
    for _ in range(LEAST_ANSWERS):
        assert judge.judge(sample_of(sound, aligned_seconds=sound.seconds)).defects == frozenset()
    half = damage.half_rate(sound)
    at_wrong_rate = sample_of(Sound(half.samples, sound.rate), aligned_seconds=sound.seconds)
    assert judge.judge(at_wrong_rate).defects == {Defect.WRONG_RATE}
    cut = damage.truncated(sound, 0.4)
    assert judge.judge(sample_of(cut, aligned_seconds=sound.seconds)).defects == {Defect.TRUNCATED}
    # Only one of its four messages came.
    whole = sample_of(sound, aligned_seconds=sound.seconds, characters=80)
    begin = replace(whole, messages=whole.messages[1:2])
    assert judge.judge(begin).defects == {Defect.TRUNCATED}


def test_without_models_there_are_defects_and_no_scores() -> None:
    verdict = Judge(None).judge(sample_of(damage.clipped(recording("barge-in-en"), 15)))
    assert verdict.defects == {Defect.CLIPPED}
    assert verdict.scores == ()
    assert not verdict.will_be_scored


@pytest.mark.parametrize(
    "message",
    [b"", b"[]", b"{}", b'{"audio_event": 1}', b'{"audio_event": {"audio_base_64": "%%%"}}'],
)
def test_what_is_no_audio_is_said_to_be_none(message: bytes) -> None:
    sample = sample_of(recording("barge-in-en"))
    broken = replace(sample, messages=(*sample.messages, message))
    with pytest.raises(UnreadableSoundError):
        Judge(None).judge(broken)


def test_strange_alignments_are_passed_over() -> None:
    sound = recording("barge-in-en")
    for alignment in (
        b"1",
        b'{"char_start_times_ms": [1]}',
        b'{"char_start_times_ms": ["a"], "char_durations_ms": [1]}',
    ):
        head = damage.audio_event(damage.pcm_of(sound))[:-2]
        message = head + b', "alignment": ' + alignment + b"}}"
        sample = sample_of(sound)
        judged_sample = replace(sample, messages=(message,))
        assert Judge(None).judge(judged_sample).defects == frozenset()


def test_the_voice_that_was_silent_for_the_longest_time_is_forgotten() -> None:
    baselines = Baselines()
    for number in range(KEPT_VOICES + 10):
        baselines.of("elevenlabs", "first").scores.append(4.0)
        baselines.of("elevenlabs", f"voice {number}").scores.append(4.0)
    assert len(baselines) == KEPT_VOICES
    assert baselines.of("elevenlabs", "first").score == 4.0
    assert baselines.of("elevenlabs", "voice 0").score is None
