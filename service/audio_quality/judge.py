"""Judges answers: what is broken about each, and what people would say of it from 1 to 5.

The key decisions:

* the score is the mean of DNSMOS' overall score and PLCMOS': the first hears noise and distortion, the second what was
  lost, and every damage that was tried lowers their mean (tests/unit/audio_quality). Of what is no speech both guess
  nonsense, 2.7 for silence; so a broken answer is not shown to them and gets the score that `BROKEN_SCORES` says;
* DNSMOS hears 9 s, never less, and most answers have three. So what a voice says is put together until there is
  enough for one window, and those answers share its score; PLCMOS hears each one alone. A second of sound costs a third
  of what it would cost alone.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import soxr

from service.audio_quality.baselines import Baselines
from service.audio_quality.defects import FAULTS, SHORTEST_SECONDS, defects_of
from service.audio_quality.sample import AnswerName, Floats, Sample, Sound, read_sample
from service.audio_quality.signal_checks import Signal, measure
from service.audio_quality.speech_models import RATE, WINDOW, Models
from service.metrics_quality import Defect

BROKEN_SCORES = {Defect.SILENT: 1.0, Defect.NOISE: 1.0, Defect.WRONG_RATE: 1.5, Defect.TRUNCATED: 2.0}
"""What people say of an answer that they cannot understand, or of which the end is missing."""

ENOUGH_SECONDS = 14.0
"""So much of a voice is put together: more than a window, since each second of it is paid for."""

OLDEST_SECONDS = 300.0
"""So long an answer waits for others of its voice; then it is scored with what there is."""

MOST_WAITING = 32
"""Voices whose answers wait for others; with one more the oldest is scored with what there is."""


@dataclass(frozen=True)
class Score:
    """What an answer got; `deviation` is what that is above the voice's baseline, None: there is none yet. `answer` is
    where that is to be kept; None: nowhere."""

    provider: str
    score: float
    deviation: float | None
    answer: AnswerName | None = None


@dataclass(frozen=True)
class Verdict:
    """What was found about one answer, and the `scores` that have become known with it, of this and of earlier ones.
    `will_be_scored`: whether its own is among them, or will come.
    """

    defects: frozenset[Defect]
    signal: Signal
    scores: tuple[Score, ...] = ()
    will_be_scored: bool = False


@dataclass
class _Waiting:
    """Answers of one voice that wait for more."""

    since: float
    pieces: list[Floats] = field(default_factory=list)
    losses: list[tuple[float, AnswerName | None]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(map(len, self.pieces)) / RATE


class Judge:
    """For one thread. Without `models` (None) only defects are found."""

    def __init__(self, models: Models | None, *, clock: Callable[[], float] | None = None) -> None:
        self._models = models
        self._clock = clock or time.monotonic
        self._baselines = Baselines()
        self._waiting: OrderedDict[tuple[str, str], _Waiting] = OrderedDict()  # the longest waiting first

    def judge(self, sample: Sample) -> Verdict:
        """Judge one answer.

        Raises:
            UnreadableSoundError: it is no sound that can be read.
        """
        sound, aligned = read_sample(sample)
        signal = measure(sound)
        baseline = self._baselines.of(sample.provider, sample.voice)
        defects = defects_of(sample, signal, baseline, aligned)
        if not defects & FAULTS:
            if signal.pitch_hz is not None:
                baseline.pitches.append(signal.pitch_hz)
            if sample.characters and not sample.is_cut:
                baseline.paces.append(signal.seconds / sample.characters)
        if self._models is None or (signal.seconds < SHORTEST_SECONDS and not defects):
            return Verdict(defects, signal)
        scores = self._scores(self._models, sample, sound, defects)
        return Verdict(defects, signal, tuple(scores), will_be_scored=True)

    def _scores(self, models: Models, sample: Sample, sound: Sound, defects: frozenset[Defect]) -> list[Score]:
        found = []
        broken = [BROKEN_SCORES[defect] for defect in defects & FAULTS]
        key = (sample.provider, sample.voice)
        if broken:
            # Not part of the baseline: it would become usual.
            found.append(self._scored(key, min(broken), sample.answer))
        else:
            self._wait(models, key, sound, sample.answer)
        for ripe in self._ripe():
            found.extend(self._score_together(models, ripe, self._waiting.pop(ripe)))
        return found

    def _wait(self, models: Models, key: tuple[str, str], sound: Sound, answer: AnswerName | None) -> None:
        samples = sound.samples
        if sound.rate != RATE:
            samples = np.clip(soxr.resample(samples, sound.rate, RATE, quality="HQ"), -1.0, 1.0).astype(np.float32)
        waiting = self._waiting.setdefault(key, _Waiting(since=self._clock()))
        waiting.pieces.append(samples)
        waiting.losses.append((models.loss(samples), answer))

    def _ripe(self) -> list[tuple[str, str]]:
        """Whose answers are to be scored now: there is enough, or they have waited for too long, or too many wait."""
        too_many = len(self._waiting) - MOST_WAITING
        return [
            key
            for place, (key, each) in enumerate(self._waiting.items())
            if each.seconds >= ENOUGH_SECONDS or self._clock() - each.since > OLDEST_SECONDS or place < too_many
        ]

    def _score_together(self, models: Models, key: tuple[str, str], waiting: _Waiting) -> list[Score]:
        overall = models.overall(_window(waiting.pieces))
        found = []
        for loss, answer in waiting.losses:
            score = (overall + loss) / 2
            found.append(self._scored(key, score, answer))
            self._baselines.of(*key).scores.append(score)
        return found

    def _scored(self, key: tuple[str, str], score: float, answer: AnswerName | None) -> Score:
        usual = self._baselines.of(*key).score
        return Score(key[0], round(score, 3), None if usual is None else round(score - usual, 3), answer)


def _window(pieces: list[Floats]) -> Floats:
    """One window of sound with an equal share of each piece, from its begin."""
    whole = sum(map(len, pieces))
    share = min(1.0, WINDOW / whole)
    return np.concatenate([piece[: int(np.ceil(share * len(piece)))] for piece in pieces])[:WINDOW]
