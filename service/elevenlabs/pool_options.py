"""How many connections to ElevenLabs a pool keeps, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from service.connection_pool import ConnectionPool
from service.metrics_elevenlabs import PoolName, pool_waited

C = TypeVar("C")

_NO_TIME = 1e-6
"""A connection that may lie idle for so long is never used again."""


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """The bounds of one pool in one worker, which the settings of the same names explain; durations are in seconds."""

    min_idle: int = 0
    max_size: int = 256
    max_waiting: int = 256
    timeout_seconds: float = 6.0
    max_idle_seconds: float = 50.0
    max_lifetime_seconds: float = 600.0

    def make_pool(
        self,
        open_connection: Callable[[], C],
        *,
        name: PoolName,
        close_connection: Callable[[C], None],
        is_healthy: Callable[[C], bool],
        opens_at_once: bool = False,
    ) -> ConnectionPool[C]:
        """A pool of these bounds; it is not started."""
        return ConnectionPool(
            open_connection,
            name=name.value,
            close_connection=close_connection,
            is_healthy=is_healthy,
            min_idle=self.min_idle,
            max_size=self.max_size,
            max_waiting=self.max_waiting,
            timeout=self.timeout_seconds,
            max_idle=max(self.max_idle_seconds, _NO_TIME),
            max_lifetime=self.max_lifetime_seconds,
            opens_at_once=opens_at_once,
            on_waited=partial(pool_waited, name),
        )
