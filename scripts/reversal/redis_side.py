"""Redis as a rollback meets it: what lies there, the caches that are cleared, and the maintenance of the service.

The key decisions: keys are walked with SCAN and cleared with UNLINK, a few hundred at a time with a pause as long as
the server took, so that its other clients hardly notice; and only what the catalogue (`service.redis_keys`) calls a
cache is ever cleared, checked key by key, so that no pattern can be too wide. KEYS and the FLUSH commands are not used:
the server's user need not have them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scripts.reversal.failures import RefusedError, one_line
from service.redis_keys import CACHE, CATALOGUE, Kind, namespace_of

SECONDS = 3.0
BATCH = 500
MOST_LOOKS = 2000
"""SCANs that the plan makes: with more keys than it sees so, it tells the numbers of a sample."""

_OURS = "vocero:*"


@dataclass(frozen=True)
class Inventory:
    """`keys` by namespace; `total` is all keys of the database, None if we may not ask. A sample has seen `share`."""

    keys: dict[str, int]
    total: int | None
    share: float


def connect(url: str) -> redis.Redis:
    """A client whose calls end within seconds; connects when first used."""
    return redis.Redis.from_url(
        url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS, retry=Retry(NoBackoff(), 1)
    )


def check(store: redis.Redis) -> None:
    """Make sure that Redis answers and lets us do what we need; changes nothing.

    Raises:
        RefusedError: it does not.
    """
    try:
        store.ping()
        store.scan(0, match=_OURS, count=1)
        store.unlink(f"{CACHE.prefix}there is no such key")
    except redis.RedisError as exc:
        raise RefusedError(
            f"{one_line(exc)}. Without Redis the service cannot be closed: stop it yourself and give --no-redis."
        ) from None


def take_inventory(store: redis.Redis) -> Inventory:
    """Count our keys by namespace; in a large database as far as `MOST_LOOKS` SCANs go."""
    total = _total(store)
    counts = {namespace.prefix: 0 for namespace in CATALOGUE}
    seen: set[bytes] = set()  # SCAN may bring a key twice
    for looks, keys in enumerate(_batches(store), 1):
        for key in {key for key in keys if key not in seen}:
            seen.add(key)
            found = namespace_of(key)
            if found is not None:
                counts[found.prefix] += 1
        if looks >= MOST_LOOKS:
            return Inventory(counts, total, min(1.0, looks * BATCH / total) if total else 1.0)
    return Inventory(counts, total, 1.0)


def clear_caches(store: redis.Redis, tell: Callable[[int], None], pause: Callable[[float], None] | None = None) -> int:
    """Clear every key that is in a cache namespace; the number of those that went. A second time finds none."""
    cleared = 0
    for keys in _batches(store):
        began = time.monotonic()
        ours = [key for key in keys if (found := namespace_of(key)) is not None and found.kind is Kind.CACHE]
        if ours:
            cleared += store.unlink(*ours)
            tell(cleared)
        (pause or time.sleep)(max(0.001, time.monotonic() - began))
    return cleared


def _batches(store: redis.Redis) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, keys = cast("tuple[int, list[bytes]]", store.scan(cursor, match=_OURS, count=BATCH))
        yield keys
        if cursor == 0:
            return


def _total(store: redis.Redis) -> int | None:
    try:
        return store.dbsize()
    except redis.ResponseError:
        return None
