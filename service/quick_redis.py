"""A client of Redis that nobody waits for long: half a second for a server that is stuck.

The key decision: the library's own timeouts and repetitions let a caller hang for 59 s, and the lookup of a name has no
bound at all; whoever serves people opens Redis here.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service import addresses
from service.errors import SettingsError

ATTEMPT_SECONDS = 0.25
"""There are two: a connection that the server has closed meanwhile is no failure."""


class _QuickConnection(redis.Connection):
    """Over TCP, to a host whose name is looked up within an attempt's time."""

    def _connect(self) -> Any:
        name, failure = self.host, OSError("the host has no address")
        for _, place in addresses.look_up(name, self.port, seconds=ATTEMPT_SECONDS):
            self.host = place[0]  # the library looks it up itself, and an address needs none
            try:
                return super()._connect()  # type: ignore[no-untyped-call]
            except OSError as exc:
                failure = exc
            finally:
                self.host = name  # by which TLS knows it
        addresses.forget(name, self.port)
        try:
            raise failure
        finally:
            del failure  # else it and this frame would hold each other


class _QuickTlsConnection(redis.SSLConnection, _QuickConnection):
    """The same with TLS, which begins when `_QuickConnection` has connected."""


_CONNECTIONS = {"redis": _QuickConnection, "rediss": _QuickTlsConnection}


def quick_redis(url: str, kind: type[redis.Redis] = redis.Redis) -> redis.Redis:
    """A client for `url`; it connects when it is used.

    Raises:
        SettingsError: the library makes nothing of the URL; the message never shows it, since it may carry a password.
    """
    over = _CONNECTIONS.get(url.partition(":")[0])
    options: dict[str, Any] = {} if over is None else {"connection_class": over}
    try:
        client = kind.from_url(
            url,
            socket_timeout=ATTEMPT_SECONDS,
            socket_connect_timeout=ATTEMPT_SECONDS,
            retry=Retry(NoBackoff(), 1),
            **options,
        )
        client.connection_pool.make_connection()  # which looks at the options and opens nothing
    except (redis.RedisError, ValueError, TypeError):
        raise SettingsError(
            "VOCERO_REDIS_URL: its port, its database or an option behind its question mark cannot be used."
        ) from None
    return client
