"""One Redis, as the nodes of a test share it, and none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.conftest import NewRedis
from tests.servers import free_port


@pytest.fixture
def store(new_redis: NewRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(new_redis(), socket_timeout=5) as store:
        yield store


@pytest.fixture
def no_redis() -> Iterator[redis.Redis]:
    with redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0)) as store:
        yield store
