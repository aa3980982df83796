"""An override as it stands in Redis, for all workers: JSON, and never an older version in a newer one's place.

The key decision: Redis only carries what the database has. So a value that cannot be read is as good as none, and
whoever knows a newer one puts it there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import redis

from service import redis_keys
from service.storage import Capability, Override, OverrideMode

LONGEST_NOTE = 10_000
"""Bytes that are read of a value; ours have a tenth of it."""

# What is no JSON of ours counts as version -1. `force` is for a database that was set back on purpose.
_PUT = """
local function version(text)
    local is_read, found = pcall(cjson.decode, text or '')
    return is_read and type(found) == 'table' and tonumber(found.version) or -1
end
if ARGV[3] == '1' or tonumber(ARGV[2]) > version(redis.call('GET', KEYS[1])) then
    redis.call('SET', KEYS[1], ARGV[1])
    return 1
end
return 0
"""


class OverrideNotes:
    """The overrides in `store`, which needs short timeouts. Every method raises RedisError."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store
        self._put = store.register_script(_PUT)

    def read(self) -> dict[Capability, Override | None]:
        """The override of each capability; None where there is none, or none that can be read."""
        values: list[Any] = self._store.mget([_key(each) for each in Capability])
        return {each: _override(each, value) for each, value in zip(Capability, values, strict=True)}

    def put(self, override: Override, *, force: bool = False) -> bool:
        """Put it there unless what is there is as new; `force`: whatever is there. True if it was put."""
        note = orjson.dumps(
            {
                "mode": override.mode.value,
                "version": override.version,
                "reason": override.reason,
                "author": override.author,
                "set_at": _text(override.set_at),
                "expires_at": _text(override.expires_at),
            }
        )
        return bool(self._put(keys=[_key(override.capability)], args=[note, override.version, int(force)]))


def _key(capability: Capability) -> str:
    return f"{redis_keys.OVERRIDE.prefix}{capability.value}"


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()


def _override(capability: Capability, value: bytes | str | None) -> Override | None:
    if value is None or len(value) > LONGEST_NOTE:
        return None
    try:
        found = orjson.loads(value)
        return Override(
            capability,
            OverrideMode(found["mode"]),
            version=int(found["version"]),
            reason=str(found["reason"]),
            author=str(found["author"]),
            set_at=_moment(found["set_at"]),
            expires_at=_moment(found["expires_at"]),
        )
    except (ValueError, KeyError, TypeError):  # another release's, or nobody's
        return None


def _moment(text: str | None) -> datetime | None:
    """A naive time would fail later, when it is compared."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its zone")
    return moment
