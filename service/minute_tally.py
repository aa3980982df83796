"""What has happened in this process since it was last asked: a handful of sums, for the charts of the last hour.

The key decision: whoever tells a metric of a turn, a conversation or a request adds to a sum here too, for less than
a microsecond. To read the same out of the metrics' own series once a second costs the event loop 1.7 ms each time.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass, fields
from enum import StrEnum

FIRST_AUDIO_BOUNDS = (0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Upper bounds of the buckets, in seconds; what took longer is in the last one, which has none."""


class MinuteCount(StrEnum):
    """What is summed up by the minute. Each answer that was heard is in one bucket of the time to its first audio."""

    CONVERSATIONS = "conversations"  # that came about
    ENDED_BADLY = "ended_badly"  # by a fault of ours or of every provider's
    TURNS = "turns"
    FAILOVERS = "failovers"  # to another provider, because one failed
    SPLICED = "spliced"  # answers that one provider began and another ended
    REQUESTS = "requests"  # to ElevenLabs, without the signed URLs that conversations need
    SPEECH_REQUESTS = "speech_requests"  # of these, for speech
    ERRORS = "errors"  # at ElevenLabs, by its fault or the network's
    FIRST_AUDIO_LE_0_3 = "first_audio_le_0.3"
    FIRST_AUDIO_LE_0_5 = "first_audio_le_0.5"
    FIRST_AUDIO_LE_0_75 = "first_audio_le_0.75"
    FIRST_AUDIO_LE_1 = "first_audio_le_1"
    FIRST_AUDIO_LE_1_5 = "first_audio_le_1.5"
    FIRST_AUDIO_LE_2 = "first_audio_le_2"
    FIRST_AUDIO_LE_3 = "first_audio_le_3"
    FIRST_AUDIO_LE_5 = "first_audio_le_5"
    FIRST_AUDIO_LE_INF = "first_audio_le_inf"
    # Of each pool: seconds that connections were lent, added up; callers with an outcome, what they waited in sum, and
    # those of them that got none.
    POOL_AGENTS_LENT_SECONDS = "pool_agents_lent_seconds"
    POOL_AGENTS_CALLERS = "pool_agents_callers"
    POOL_AGENTS_WAIT_SECONDS = "pool_agents_wait_seconds"
    POOL_AGENTS_REFUSED = "pool_agents_refused"
    POOL_SPEECH_LENT_SECONDS = "pool_speech_lent_seconds"
    POOL_SPEECH_CALLERS = "pool_speech_callers"
    POOL_SPEECH_WAIT_SECONDS = "pool_speech_wait_seconds"
    POOL_SPEECH_REFUSED = "pool_speech_refused"


FIRST_AUDIO_BUCKETS = tuple(each for each in MinuteCount if each.value.startswith("first_audio_le_"))


@dataclass(frozen=True)
class PoolCounts:
    """The sums of one pool."""

    lent_seconds: MinuteCount
    callers: MinuteCount
    wait_seconds: MinuteCount
    refused: MinuteCount

    @classmethod
    def of(cls, pool: str) -> PoolCounts:
        """Those of the pool of this name ("agents", "speech"). Raises ValueError if it is none of ours."""
        return cls(*(MinuteCount(f"pool_{pool}_{each.name}") for each in fields(cls)))


class MinuteTally:
    """Sums; safe from several threads, and bounded by what there is to count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[MinuteCount, float] = {}

    def add(self, count: MinuteCount, by: float = 1) -> None:
        """Add to a sum."""
        if not by:  # what did not happen is told to nobody
            return
        with self._lock:
            self._counts[count] = self._counts.get(count, 0) + by

    def add_first_audio(self, seconds: float) -> None:
        """Add an answer that was heard after so many seconds."""
        self.add(FIRST_AUDIO_BUCKETS[bisect_left(FIRST_AUDIO_BOUNDS, seconds)])

    def take(self) -> dict[MinuteCount, float]:
        """The sums since this was last asked for; they begin at 0 again."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts


TALLY = MinuteTally()
"""The process's own, as its metrics are."""
