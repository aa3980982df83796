"""The last two hours by the minute, of all workers together, in Redis: what the dashboard's charts are drawn from.

The key decision: a minute is one hash that every worker adds to once a second, and nothing else is kept: no series, no
labels. It is a cache and no account: who wants numbers that are exact, or older, asks Prometheus. While Redis is away,
each worker keeps its sums and adds them to the minute in which Redis is back; an answer of Redis' that gets lost may
count a second twice. Minutes are those of Redis' clock, which all nodes have in common.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import redis

from service import redis_keys
from service.minute_tally import FIRST_AUDIO_BOUNDS, FIRST_AUDIO_BUCKETS, MinuteCount, MinuteTally

__all__ = ["Minute", "MinuteCount", "MinuteHistory", "quantile", "read_minutes"]

KEPT_SECONDS = 7200
MOST_MINUTES = KEPT_SECONDS // 60
_PREFIX = f"{redis_keys.CACHE.prefix}minutes:"


@dataclass(frozen=True)
class Minute:
    """One minute of all workers: when it began (seconds since 1970), and what happened in it, by `MinuteCount`."""

    start: float
    counts: Mapping[str, float]


class MinuteHistory:
    """Adds what `tally` has to the minute that it is. `store` needs short timeouts; called by one thread."""

    def __init__(self, store: redis.Redis, tally: MinuteTally) -> None:
        self._store = store
        self._tally = tally
        self._untold: dict[MinuteCount, float] = {}
        self._ahead: float | None = None  # of our monotonic clock is Redis', in seconds

    def tell(self) -> None:
        """Add what has happened since the last time; asks nobody if that is nothing.

        Raises:
            RedisError: Redis did not take it; it is told the next time.
        """
        for count, number in self._tally.take().items():
            self._untold[count] = self._untold.get(count, 0) + number
        if not self._untold:
            return
        if self._ahead is None:
            self._ahead = _seconds(self._store.time()) - time.monotonic()
        key = _key(int((time.monotonic() + self._ahead) // 60))
        with self._store.pipeline(transaction=True) as pipeline:
            for count, number in self._untold.items():
                pipeline.hincrbyfloat(key, count.value, number)
            pipeline.expire(key, KEPT_SECONDS)
            pipeline.time()
            answers = pipeline.execute()
        self._untold = {}
        self._ahead = _seconds(answers[-1]) - time.monotonic()


def read_minutes(store: redis.Redis, *, minutes: int = 60, now: float | None = None) -> list[Minute]:
    """The last `minutes` (1 to 120), oldest first, the one that goes on included; in an empty one nothing happened.

    `now` is in seconds since 1970 (unset: by Redis' clock). Raises RedisError.
    """
    last = int((_seconds(store.time()) if now is None else now) // 60)
    numbers = range(last - max(1, min(minutes, MOST_MINUTES)) + 1, last + 1)
    with store.pipeline(transaction=False) as pipeline:
        for number in numbers:
            pipeline.hgetall(_key(number))
        found = pipeline.execute()
    return [Minute(start=number * 60.0, counts=_counts(fields)) for number, fields in zip(numbers, found, strict=True)]


def quantile(counts: Mapping[str, float], share: float) -> float | None:
    """The seconds to first audio within which `share` (0 to 1) of the answers were heard; None: there were none.

    By the buckets, linear within one (as Prometheus does it); beyond the last bound it is that bound.
    """
    heard = [counts.get(bucket.value, 0.0) for bucket in FIRST_AUDIO_BUCKETS]
    wanted = share * sum(heard)
    if not any(heard):
        return None
    below, lower = 0.0, 0.0
    for number, upper in zip(heard, FIRST_AUDIO_BOUNDS, strict=False):
        if number and below + number >= wanted:
            return lower + (upper - lower) * max(0.0, wanted - below) / number
        below, lower = below + number, upper
    return FIRST_AUDIO_BOUNDS[-1]


def _key(minute: int) -> str:
    return f"{_PREFIX}{minute}"


def _counts(fields: Mapping[bytes, bytes]) -> dict[str, float]:
    names = {each.value for each in MinuteCount}
    return {name: _number(value) for key, value in fields.items() if (name := key.decode("utf-8", "replace")) in names}


def _number(value: bytes) -> float:
    try:
        return float(value)
    except ValueError:  # nobody of us has written that
        return 0.0


def _seconds(answer: object) -> float:
    seconds, microseconds = cast("tuple[int, int]", answer)
    return seconds + microseconds / 1e6
