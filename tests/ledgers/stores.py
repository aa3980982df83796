"""Clients of Redis: as a worker has it, and as a test does that runs on a busy machine."""

from __future__ import annotations

import redis

from service.quick_redis import quick_redis


def connect(url: str) -> redis.Redis:
    """A client whose calls end within half a second."""
    return quick_redis(url)


def connect_patiently(url: str) -> redis.Redis:
    """A client for what a test wants to know."""
    return redis.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=10)


def hasty(store: redis.Redis) -> redis.Redis:
    """A client as a worker has it, of the same Redis as `store`; close it."""
    known = store.connection_pool.connection_kwargs
    return connect(f"unix://{known['path']}?db={known.get('db', 0)}")
