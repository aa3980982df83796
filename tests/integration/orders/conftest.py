"""A database of Valkey's own for each test of orders, and workers that take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
import redis

from service.metrics_platform import OrderKind
from service.orders import OrderDesk
from service.orders.taker import Deed, OrderTaker
from tests.conftest import NewRedis

StartTaker = Callable[[str, Mapping[OrderKind, Deed]], OrderTaker]


@pytest.fixture
def store(new_redis: NewRedis) -> Iterator[redis.Redis]:
    """A database of the test's own: workers of the session take orders in the first one."""
    client = redis.Redis.from_url(new_redis(), socket_timeout=5)
    yield client
    client.close()


@pytest.fixture
def desk(store: redis.Redis) -> OrderDesk:
    """Where orders are given."""
    return OrderDesk(store)


@pytest.fixture
def start_taker(store: redis.Redis) -> Iterator[StartTaker]:
    """Start a worker of that name with these deeds; it ends with the test."""
    started: list[OrderTaker] = []

    def start(worker: str, deeds: Mapping[OrderKind, Deed]) -> OrderTaker:
        taker = OrderTaker(store, worker=worker, deeds=deeds)
        taker.start()
        started.append(taker)
        return taker

    yield start
    for taker in started:
        taker.close()
