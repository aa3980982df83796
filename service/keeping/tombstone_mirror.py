"""The orders to erase, once more, in Redis: so that a database that was restored learns what it has to forget.

The key decision: a backup does not know of what was erased after it was made, and nothing in a restored database tells
that it is older than it was. So the digests, and the moments of the orders, also lie where a restore does not reach: in
one sorted set, by moment in microseconds, so that one look at the newest tells whether anything is missing. Who asked,
and what for, does not lie there. Whoever can write to Redis can so have things erased; what is taken over is audited.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

import redis

from service import redis_keys
from service.storage import SubjectKind, Tombstone

KEY = redis_keys.TOMBSTONES.prefix
FROM_MIRROR = "learned from Redis"
BATCH = 1000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST_EXACT = 2**53  # the year 2255
_MEMBER = re.compile(rb"(conversation|user):([0-9a-f]{64})")


class TombstoneMirror:
    """The mirror in `store`. Every method raises RedisError when Redis does not answer; repeating the call is safe."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store

    def put(self, orders: Iterable[Tombstone]) -> None:
        """Mirror orders; of two for one subject the younger stays."""
        entries = {_member(order): _score(order.requested_at) for order in orders}
        names = list(entries)
        for start in range(0, len(names), BATCH):
            self._store.zadd(KEY, {name: entries[name] for name in names[start : start + BATCH]}, gt=True)

    def remove(self, orders: Iterable[Tombstone]) -> None:
        """Take orders out that have outlived their use."""
        names = [_member(order) for order in orders]
        if names:
            self._store.zrem(KEY, *names)

    def drop(self, before: datetime) -> None:
        """Take out what is from before `before`."""
        self._store.zremrangebyscore(KEY, "-inf", f"({_score(before)}")

    def count(self, since: datetime) -> int:
        """How many orders from `since` on are mirrored."""
        return self._store.zcount(KEY, _score(since), "+inf")

    def newest(self) -> Tombstone | None:
        """The youngest order; None if none is mirrored."""
        found = cast("list[tuple[bytes, float]]", self._store.zrange(KEY, 0, 0, desc=True, withscores=True))
        return next(iter(_orders(found)), None)

    def read(self) -> list[Tombstone]:
        """Every order, oldest first."""
        orders: list[Tombstone] = []
        start = 0
        while True:
            found = cast(
                "list[tuple[bytes, float]]", self._store.zrange(KEY, start, start + BATCH - 1, withscores=True)
            )
            orders += _orders(found)
            if len(found) < BATCH:
                return orders
            start += BATCH


def _member(order: Tombstone) -> str:
    return f"{order.kind}:{order.hash}"


def _score(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _orders(found: Iterable[tuple[bytes, float]]) -> Iterator[Tombstone]:
    """The orders that entries stand for; what is no order of ours is passed over."""
    for member, score in found:
        parts = _MEMBER.fullmatch(member)
        if parts is not None and 0 <= score < _LARGEST_EXACT:
            kind, digest = parts[1].decode(), parts[2].decode()
            yield Tombstone(SubjectKind(kind), digest, _EPOCH + int(score) * _MICROSECOND, FROM_MIRROR)
