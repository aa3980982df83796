"""`OrderFeed`: the orders that are new to this worker, each of them once.

The key decision: it begins at the newest order that there is when it first looks, so a worker that starts carries out
nothing of the past. In between it asks for the newest id alone, which is one small command; the stream having been
emptied (a Redis without its data) is seen by an id that is older than ours.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, cast

import redis
import structlog

from service.orders.order import STREAM_KEY, Order, read_order

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 100
_BEGINNING = b"0-0"
_MOST_REMEMBERED = 2000
"""Ids of orders that were seen: more than the stream holds."""


@dataclass(frozen=True)
class FoundOrder:
    """An order that was just read; `is_late`: its time was over by then."""

    order: Order
    is_late: bool


class OrderFeed:
    """Reads the stream of orders in `store`, which needs short timeouts. Belongs to one thread."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store
        self._position: bytes | None = None
        self._seen: deque[str] = deque(maxlen=_MOST_REMEMBERED)
        self._ahead = time.time() - time.monotonic()  # until Redis has told its time

    def look(self) -> list[FoundOrder]:
        """The orders since the last time, oldest first. Raises RedisError; then the next time has them."""
        newest = self._newest()
        if self._position is None:
            self._position = newest
        if newest == self._position:
            return []
        if _place(newest) < _place(self._position):
            log.warning("the orders in Redis have begun anew")
            self._position = _BEGINNING
        with self._store.pipeline(transaction=False) as pipeline:
            pipeline.xrange(STREAM_KEY, min=b"(" + self._position, count=MOST_AT_ONCE)
            pipeline.time()
            entries, (seconds, microseconds) = pipeline.execute()
        self._ahead = seconds + microseconds / 1e6 - time.monotonic()
        found = [each for _, fields in entries if (each := self._read(fields)) is not None]
        if entries:
            self._position = entries[-1][0]
        return found

    def now(self) -> float:
        """Redis' time, as far as it is known without asking."""
        return time.monotonic() + self._ahead

    def _newest(self) -> bytes:
        found = cast("list[tuple[bytes, Any]]", self._store.xrevrange(STREAM_KEY, count=1))
        return found[0][0] if found else _BEGINNING

    def _read(self, fields: dict[bytes, bytes]) -> FoundOrder | None:
        try:
            order = read_order(fields.get(b"order", b""))
        except ValueError:
            log.warning("an order in Redis makes no sense")
            return None
        if order.id in self._seen:
            return None
        self._seen.append(order.id)
        return FoundOrder(order, is_late=self.now() >= order.expires_at)


def _place(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number or 0)
