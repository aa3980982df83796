"""The last hour, minute by minute, for small charts, and in sum for words.

The key decision: only what workers have counted in Redis is shown, so the dashboard needs no Prometheus; what is older
than an hour is a matter for Grafana. A minute in which nobody spoke has no first audio, and a gap in the chart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.metrics_elevenlabs import PoolName
from service.minute_history import Minute, MinuteCount, quantile
from service.minute_tally import PoolCounts

SECONDS_OF_A_MINUTE = 60.0
LATELY_MINUTES = 5
_USUAL, _SLOW = 0.5, 0.95


@dataclass(frozen=True)
class PoolSum:
    """A pool in some minutes: connections lent on average, the mean wait of callers in seconds, and who got none.

    None: nobody asked; `lent` of a minute that goes on is not known before it is over.
    """

    lent: float | None
    mean_wait_seconds: float | None
    refused: int


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
    pools: Mapping[str, PoolSum]


@dataclass(frozen=True)
class PoolHistory:
    """A pool in each minute, in columns; the fields are those of `PoolSum`."""

    lent: tuple[float | None, ...]
    mean_wait_seconds: tuple[float | None, ...]
    refused: tuple[int, ...]


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
    pools: Mapping[str, PoolHistory]
    hour: HistorySum
    lately: HistorySum
    steps: tuple[HistorySum, ...]


def see_history(minutes: Sequence[Minute]) -> History:
    """The columns and the sums of these minutes, which are in order."""
    newest = minutes[-1] if minutes else None
    by_minute = [_pools([minute], newest) for minute in minutes]

    def steps() -> Iterator[HistorySum]:
        for start in range(0, len(minutes), LATELY_MINUTES):
            yield _sum(minutes[start : start + LATELY_MINUTES], newest)

    return History(
        starts=tuple(minute.start for minute in minutes),
        first_audio_p50=tuple(quantile(minute.counts, _USUAL) for minute in minutes),
        first_audio_p95=tuple(quantile(minute.counts, _SLOW) for minute in minutes),
        conversations=_column(minutes, MinuteCount.CONVERSATIONS),
        requests=_column(minutes, MinuteCount.REQUESTS),
        errors=_column(minutes, MinuteCount.ERRORS),
        failovers=_column(minutes, MinuteCount.FAILOVERS),
        pools={pool.value: _columns(pool.value, by_minute) for pool in PoolName},
        hour=_sum(minutes, newest),
        lately=_sum(minutes[-LATELY_MINUTES:], newest),
        steps=tuple(steps()),
    )


def _pools(minutes: Sequence[Minute], newest: Minute | None) -> dict[str, PoolSum]:
    """All pools in these minutes, of which the `newest` one of all is not over."""
    return {pool.value: _pool(minutes, PoolCounts.of(pool.value), newest) for pool in PoolName}


def _pool(minutes: Sequence[Minute], counts: PoolCounts, newest: Minute | None) -> PoolSum:
    over = [minute for minute in minutes if minute is not newest]
    callers = _total(minutes, counts.callers)
    return PoolSum(
        lent=_total(over, counts.lent_seconds) / (len(over) * SECONDS_OF_A_MINUTE) if over else None,
        mean_wait_seconds=_total(minutes, counts.wait_seconds) / callers if callers else None,
        refused=round(_total(minutes, counts.refused)),
    )


def _columns(pool: str, minutes: Sequence[Mapping[str, PoolSum]]) -> PoolHistory:
    sums = [minute[pool] for minute in minutes]
    return PoolHistory(
        lent=tuple(each.lent for each in sums),
        mean_wait_seconds=tuple(each.mean_wait_seconds for each in sums),
        refused=tuple(each.refused for each in sums),
    )


def _total(minutes: Iterable[Minute], name: MinuteCount) -> float:
    return sum(minute.counts.get(name.value, 0.0) for minute in minutes)


def _column(minutes: Iterable[Minute], name: MinuteCount) -> tuple[int, ...]:
    return tuple(round(minute.counts.get(name.value, 0.0)) for minute in minutes)


def _sum(minutes: Sequence[Minute], newest: Minute | None) -> HistorySum:
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
        pools=_pools(minutes, newest),
    )


_SUMMED = frozenset(
    name.value
    for name in (
        MinuteCount.CONVERSATIONS, MinuteCount.ENDED_BADLY, MinuteCount.TURNS, MinuteCount.FAILOVERS,
        MinuteCount.SPLICED, MinuteCount.REQUESTS, MinuteCount.ERRORS, MinuteCount.SPEECH_REQUESTS,
    )
)  # fmt: skip
