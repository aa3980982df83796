"""How many characters a key has had spoken on a day (UTC), counted in Redis for all workers of all nodes.

The key decision: they are counted before the text is sent, in one step with the question whether there is room, so
that many requests at once cannot go over the limit together. What was counted and then not spoken is given back.

Without Redis nothing is counted and everything is let through: a limit that cannot be looked at must not stop the
speech of integrators who keep theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import redis
import structlog

from service import metrics_platform, redis_keys
from service.errors import KeyQuotaError
from service.metrics_platform import KeyRefusal

log = structlog.get_logger(__name__)

KEPT_SECONDS = 2 * 24 * 3600
"""How long a day's count stays after its last change: over the day's end, wherever the clock of a worker stands."""

# What follows is a number to add, which may be below zero, and the limit. Answers whether it was added, and the count.
_ADD = """
local used = tonumber(redis.call('GET', KEYS[1]) or '0')
local added = tonumber(ARGV[1])
if added > 0 and used + added > tonumber(ARGV[2]) then
  return {0, used}
end
used = math.max(0, used + added)
redis.call('SET', KEYS[1], string.format('%.0f', used), 'EX', ARGV[3])
return {1, used}
"""


@dataclass(frozen=True)
class Charge:
    """Characters that were counted, and where."""

    place: str
    characters: int


class KeyCharacters:
    """Counts the characters of keys that have a limit."""

    def __init__(self, store: redis.Redis) -> None:
        self._add = store.register_script(_ADD)
        self._is_failing = False

    def take(self, key_id: str, characters: int, *, limit: int) -> Charge | None:
        """Count `characters`; None: Redis does not answer, and nothing is counted.

        Raises:
            KeyQuotaError: the day's count would be over `limit`; nothing was counted.
        """
        place = _place(key_id, datetime.now(UTC).date())
        try:
            is_added, used = self._add(keys=[place], args=[characters, limit, KEPT_SECONDS])
        except redis.RedisError as exc:
            if not self._is_failing:
                self._is_failing = True
                log.warning("characters of API keys are not counted", error=type(exc).__name__)
            return None
        self._is_failing = False
        if is_added:
            return Charge(place, characters)
        metrics_platform.key_refused(KeyRefusal.CHARACTERS)
        raise KeyQuotaError(used=int(used), limit=limit, asked=characters)

    def give_back(self, charge: Charge) -> None:
        """Take a charge off again; without Redis it stays."""
        try:
            self._add(keys=[charge.place], args=[-charge.characters, 0, KEPT_SECONDS])
        except redis.RedisError as exc:
            log.warning("characters of an API key were not given back", error=type(exc).__name__)


def characters_used(store: redis.Redis, key_id: str, day: date | None = None) -> int:
    """How many characters the key has had spoken on `day` (UTC; None: today), of a key with a limit.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    raw = store.get(_place(key_id, day or datetime.now(UTC).date()))
    return int(raw) if isinstance(raw, bytes | str) else 0


def _place(key_id: str, day: date) -> str:
    return f"{redis_keys.KEY_CHARACTERS.prefix}{key_id}:{day.isoformat()}"
