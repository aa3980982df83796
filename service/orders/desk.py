"""`OrderDesk`: where orders are given, and what came of them is asked for.

The key decision: orders go into one stream that each worker reads for itself, so whoever gives one need not know which
workers there are. An order is said once and never again: who gave it sees who has answered, and gives another one if
that is not enough. Whoever can write to Redis can give orders: it must not be open to others (docs/operations.md).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import redis

from service.metrics_platform import OrderKind
from service.orders.order import (
    EVERYBODY,
    KEPT_SECONDS,
    LONGEST_SECONDS,
    MOST_BYTES,
    STREAM_KEY,
    Order,
    OrderAnswer,
    answers_key,
    is_order_id,
    order_key,
    read_answer,
    read_order,
    sound_key,
)

MOST_ORDERS = 1000
"""That lie in the stream, about; each worker reads them within half a second."""

_LOOK_SECONDS = 0.1


class OrderDesk:
    """Gives orders through `store`, which needs short timeouts. Every method raises RedisError."""

    def __init__(self, store: redis.Redis) -> None:
        self._store = store

    def give(
        self,
        kind: OrderKind,
        *,
        target: str = EVERYBODY,
        arguments: Mapping[str, Any] | None = None,
        author: str,
        seconds: float = 10.0,
    ) -> Order:
        """Give an order to all workers or to one ("node/worker"), to be begun within `seconds`.

        Raises:
            ValueError: it lasts too long, or is too large.
        """
        if not 0 < seconds <= LONGEST_SECONDS:
            raise ValueError(f"an order lasts more than 0 and at most {LONGEST_SECONDS:g} s, not {seconds:g}")
        given_at = self.now()
        order = Order(
            id=secrets.token_hex(8),
            kind=kind,
            target=target,
            arguments=dict(arguments or {}),
            author=author,
            given_at=given_at,
            expires_at=given_at + seconds,
        )
        written = order.as_json()
        if len(written) > MOST_BYTES:
            raise ValueError(f"an order has at most {MOST_BYTES} bytes, not {len(written)}")
        read_order(written)  # what no worker would take is not given
        with self._store.pipeline(transaction=True) as pipeline:
            pipeline.set(order_key(order.id), written, ex=KEPT_SECONDS)
            pipeline.xadd(STREAM_KEY, {"order": written}, maxlen=MOST_ORDERS, approximate=True)
            pipeline.execute()
        return order

    def now(self) -> float:
        """The time by Redis' clock, in seconds since 1970, by which orders end."""
        seconds, microseconds = self._store.time()
        return seconds + microseconds / 1e6

    def order(self, order_id: str) -> Order | None:
        """An order of the last hour; None if there is none with that id."""
        written = cast("bytes | None", self._store.get(order_key(order_id))) if is_order_id(order_id) else None
        if written is not None:
            with suppress(ValueError):
                return read_order(written)
        return None

    def answers(self, order_id: str) -> list[OrderAnswer]:
        """What workers have answered until now, by their names."""
        if not is_order_id(order_id):
            return []
        answers = []
        for worker, written in cast("dict[bytes, bytes]", self._store.hgetall(answers_key(order_id))).items():
            with suppress(ValueError):  # nobody of us has written that
                answers.append(read_answer(worker, written))
        return sorted(answers, key=lambda answer: answer.worker)

    def wait(self, order_id: str, *, until: Callable[[list[OrderAnswer]], bool], timeout: float) -> list[OrderAnswer]:
        """The answers, as soon as they are what is waited for, or after `timeout` seconds as they are then."""
        ends_at = time.monotonic() + timeout
        while True:
            answers = self.answers(order_id)
            left = ends_at - time.monotonic()
            if until(answers) or left <= 0:
                return answers
            time.sleep(min(_LOOK_SECONDS, left))

    def sound(self, order_id: str) -> bytes | None:
        """The WAV that a canary has made in the last two minutes; None: there is none, or no longer."""
        return cast("bytes | None", self._store.get(sound_key(order_id))) if is_order_id(order_id) else None
