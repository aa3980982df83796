"""The last hour, minute by minute, for small charts, and in sum for words.

The key decision: only what workers have counted in Redis is shown, so the dashboard needs no Prometheus; what is older
than an hour is a matter for Grafana. A minute in which nobody spoke has no first audio, and a gap in the chart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.minute_history import Minute, MinuteCount, quantile

MINUTES = 60
LATELY_MINUTES = 5
_USUAL, _SLOW = 0.5, 0.95


@dataclass(frozen=True)
class HistorySum:
    """What happened in some minutes from `start` on. Times to the first audio are seconds; None: nobody spoke."""

    start: float | None
    minutes: int
    conversations: int
    ended_badly: int
    turns: int
    failovers: int
    spliced: int
    requests: int
    errors: int
    speech_requests: int
    error_share: float | None
    first_audio_p50: float | None
    first_audio_p95: float | None


@dataclass(frozen=True)
class History:
    """Columns of equal length, oldest first; `starts` are Unix times of the minutes. The last minute is not over.

    `steps` are the same in sums of five minutes, for a table that somebody can read.
    """

    starts: tuple[float, ...]
    first_audio_p50: tuple[float | None, ...]
    first_audio_p95: tuple[float | None, ...]
    conversations: tuple[int, ...]
    requests: tuple[int, ...]
    errors: tuple[int, ...]
    failovers: tuple[int, ...]
    hour: HistorySum
    lately: HistorySum
    steps: tuple[HistorySum, ...]


def see_history(minutes: Sequence[Minute]) -> History:
    """The columns and the sums of these minutes, which are in order."""
    return History(
        starts=tuple(minute.start for minute in minutes),
        first_audio_p50=tuple(quantile(minute.counts, _USUAL) for minute in minutes),
        first_audio_p95=tuple(quantile(minute.counts, _SLOW) for minute in minutes),
        conversations=_column(minutes, MinuteCount.CONVERSATIONS),
        requests=_column(minutes, MinuteCount.REQUESTS),
        errors=_column(minutes, MinuteCount.ERRORS),
        failovers=_column(minutes, MinuteCount.FAILOVERS),
        hour=_sum(minutes),
        lately=_sum(minutes[-LATELY_MINUTES:]),
        steps=tuple(_sum(minutes[each : each + LATELY_MINUTES]) for each in range(0, len(minutes), LATELY_MINUTES)),
    )


def _column(minutes: Iterable[Minute], name: MinuteCount) -> tuple[int, ...]:
    return tuple(round(minute.counts.get(name.value, 0.0)) for minute in minutes)


def _sum(minutes: Sequence[Minute]) -> HistorySum:
    counts: dict[str, float] = {}
    for minute in minutes:
        for name, count in minute.counts.items():
            counts[name] = counts.get(name, 0.0) + count
    whole = {name.value: round(counts.get(name.value, 0.0)) for name in MinuteCount if name.value in _SUMMED}
    requests = whole[MinuteCount.REQUESTS.value]
    return HistorySum(
        start=minutes[0].start if minutes else None,
        minutes=len(minutes),
        **whole,
        error_share=whole[MinuteCount.ERRORS.value] / requests if requests else None,
        first_audio_p50=quantile(counts, _USUAL),
        first_audio_p95=quantile(counts, _SLOW),
    )


_SUMMED = frozenset(
    name.value
    for name in (
        MinuteCount.CONVERSATIONS, MinuteCount.ENDED_BADLY, MinuteCount.TURNS, MinuteCount.FAILOVERS,
        MinuteCount.SPLICED, MinuteCount.REQUESTS, MinuteCount.ERRORS, MinuteCount.SPEECH_REQUESTS,
    )
)  # fmt: skip
