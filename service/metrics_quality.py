"""The metrics of what is heard: the quality of sampled answers, and what was broken about them.

The key decision: as in `metrics.py`, callers tell what happened and labels come from closed sets. No series names a
voice: there may be thousands, so what is told of a voice is how far it is from its own baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from prometheus_client import Counter, Gauge, Histogram

from service import metrics  # noqa: F401 (first of all: it decides where every metric of the process lies)

SCORE_BUCKETS = (1.5, 2.0, 2.5, 3.0, 3.25, 3.5, 3.75, 4.0, 4.25, 4.5, 5.0)
DEVIATION_BUCKETS = (-2.0, -1.5, -1.0, -0.75, -0.5, -0.25, -0.1, 0.0, 0.25, 0.5)


class Defect(StrEnum):
    """What is wrong with the sound of an answer."""

    SILENT = "silent"  # nothing can be heard
    TRUNCATED = "truncated"  # it ends long before its words do
    NOISE = "noise"  # it is no speech
    WRONG_RATE = "wrong_rate"  # it is played twice too fast, or too slow
    CLIPPED = "clipped"
    GAPS = "gaps"
    QUIET = "quiet"


class SampleOutcome(StrEnum):
    """What became of an answer that was to be judged."""

    SCORED = "scored"
    SIGNAL_ONLY = "signal_only"  # checked without the models, or too short for them
    DROPPED = "dropped"  # too many waited
    FAILED = "failed"  # the process that judges did not answer, or could not read it


class VerdictLoss(StrEnum):
    """Why what was found about an answer is not kept with its conversation."""

    NO_MEMORY = "no_memory"  # the database was away for too long
    REFUSED = "refused"  # by the database
    ENDED = "ended"  # with the process


QUALITY_SCORE = Histogram(
    "elevenlabs_audio_quality_score",
    "Mean opinion score (1 to 5) of sampled answers as clients hear them, by who spoke (the backups too).",
    ["provider"],
    buckets=SCORE_BUCKETS,
)
BASELINE_DEVIATION = Histogram(
    "vocero_audio_quality_baseline_deviation",
    "Score of a sampled answer minus what is usual for its voice (the median of its latest scores).",
    ["provider"],
    buckets=DEVIATION_BUCKETS,
)
AUDIO_BROKEN = Counter(
    "vocero_audio_broken",
    "Sampled answers with a defect: silent, truncated, noise and wrong_rate are held against the provider; clipped,"
    " gaps and quiet are not.",
    ["provider", "defect"],
)
AUDIO_SAMPLES = Counter(
    "vocero_audio_samples",
    "Sampled answers: scored, signal_only (checked without the models), dropped (too many waited), failed.",
    ["provider", "outcome"],
)
VERDICTS_LOST = Counter(
    "vocero_audio_verdicts_lost",
    "Verdicts on sampled answers that are not kept with their conversation (they are in the metrics all the same):"
    " no_memory (the database was away for too long), refused (by it), ended (with the process).",
    ["cause"],
)
QUALITY_MODELS = Gauge(
    "vocero_audio_quality_models",
    "Whether sampled answers are scored by models (1), or only checked for defects (0: vocero[quality] is missing).",
    multiprocess_mode="livemax",
)


def start_quality_series(providers: Sequence[str]) -> None:
    """Have every series of these there at 0: one that appears with its first event hides it from `increase()`."""
    QUALITY_MODELS.set(0)
    for cause in VerdictLoss:
        VERDICTS_LOST.labels(cause=cause.value)
    for provider in providers:
        QUALITY_SCORE.labels(provider=provider)
        BASELINE_DEVIATION.labels(provider=provider)
        for defect in Defect:
            AUDIO_BROKEN.labels(provider=provider, defect=defect.value)
        for outcome in SampleOutcome:
            AUDIO_SAMPLES.labels(provider=provider, outcome=outcome.value)


def answer_scored(provider: str, score: float, deviation: float | None) -> None:
    """Tell a score (1 to 5), and how far it is from its voice's baseline (None: there is none yet). Read by: admin."""
    QUALITY_SCORE.labels(provider=provider).observe(score)
    if deviation is not None:
        BASELINE_DEVIATION.labels(provider=provider).observe(deviation)


def answer_is_broken(provider: str, defect: Defect) -> None:
    """Count a defect of an answer. Read by: on call."""
    AUDIO_BROKEN.labels(provider=provider, defect=defect.value).inc()


def sample_ended(provider: str, outcome: SampleOutcome) -> None:
    """Count what became of a sampled answer. Read by: SRE, whether scores can be trusted."""
    AUDIO_SAMPLES.labels(provider=provider, outcome=outcome.value).inc()


def verdicts_were_lost(count: int, cause: VerdictLoss) -> None:
    """Count verdicts that are not kept. Read by: SRE, why a conversation's page has none."""
    VERDICTS_LOST.labels(cause=cause.value).inc(count)


def models_run(are_running: bool) -> None:
    """Tell whether scores are given at all. Read by: SRE."""
    QUALITY_MODELS.set(are_running)
