"""One Redis, as the nodes of a test share it, and none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers import free_port


@pytest.fixture
def store(valkey: str, _redis_databases: Iterator[int]) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.replace("db=0", f"db={next(_redis_databases)}"), socket_timeout=5) as store:
        store.flushdb()
        yield store
        store.flushdb()


@pytest.fixture
def no_redis() -> Iterator[redis.Redis]:
    with redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0)) as store:
        yield store
