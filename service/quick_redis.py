"""A client of Redis that nobody waits for long: half a second for a server that is stuck.

The key decision: the library's own timeouts and repetitions let a caller hang for 59 s; whoever serves people opens
Redis here.
"""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.errors import SettingsError

ATTEMPT_SECONDS = 0.25
"""There are two: a connection that the server has closed meanwhile is no failure."""


def quick_redis(url: str, kind: type[redis.Redis] = redis.Redis) -> redis.Redis:
    """A client for `url`; it connects when it is used.

    Raises:
        SettingsError: the library makes nothing of the URL; the message never shows it, since it may carry a password.
    """
    try:
        client = kind.from_url(
            url, socket_timeout=ATTEMPT_SECONDS, socket_connect_timeout=ATTEMPT_SECONDS, retry=Retry(NoBackoff(), 1)
        )
        client.connection_pool.make_connection()  # which looks at the options and opens nothing
    except (redis.RedisError, ValueError, TypeError):
        raise SettingsError(
            "VOCERO_REDIS_URL: its port, its database or an option behind its question mark cannot be used."
        ) from None
    return client
