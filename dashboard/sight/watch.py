"""What all workers of all nodes say of themselves now, and what admins have ordered: one snapshot for all pages.

The key decision: Redis and the database are watched by a thread each, so that one being gone takes nothing from what
the other one tells; a snapshot always says how old each half is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import redis

from dashboard.sight.lookout import Lookout, Reading
from service.maintenance import MAINTENANCE_KEY, Maintenance, read_maintenance
from service.minute_history import Minute, read_minutes
from service.pool_reports import WorkerReport, list_reports
from service.storage import Override

MINUTES_SECONDS = 5.0
"""Between two looks at the last hour, which changes by the minute."""


@dataclass(frozen=True)
class Snapshot:
    """Times are Unix times, 0: never read. `redis_error` and `database_error` are names of classes, None: all is well.

    With an error the rest is what was known last, and its time is old. `looks` counts the attempts to read Redis.
    """

    at: float
    workers: tuple[WorkerReport, ...] = ()
    maintenance: Maintenance | None = None
    redis_error: str | None = None
    overrides: tuple[Override, ...] = ()
    overrides_at: float = 0.0
    database_error: str | None = None
    looks: int = 0


@dataclass(frozen=True)
class _Fleet:
    workers: tuple[WorkerReport, ...] = ()
    maintenance: Maintenance | None = None


class Watch:
    """Keeps the newest snapshot; `overrides` lists them from the database. `store` needs short timeouts."""

    def __init__(self, store: redis.Redis, *, overrides: Callable[[], Iterable[Override]]) -> None:
        self._fleet = Lookout(lambda: _read_fleet(store), name="watch of redis", nothing=_Fleet())
        self._minutes: Lookout[tuple[Minute, ...]] = Lookout(
            lambda: tuple(read_minutes(store)),
            name="watch of the last hour",
            nothing=(),
            interval_seconds=MINUTES_SECONDS,
        )
        self._overrides: Lookout[tuple[Override, ...]] = Lookout(
            lambda: tuple(overrides()), name="watch of the database", nothing=()
        )

    def start(self) -> None:
        """Be ready to look; nothing is read until somebody asks."""
        self._fleet.start()
        self._minutes.start()
        self._overrides.start()

    @property
    def is_closed(self) -> bool:
        """Whether nobody looks any more; whoever waits for something new is let go at once."""
        return self._fleet.is_closed

    def close(self) -> None:
        """Look no more."""
        self._fleet.close()
        self._minutes.close()
        self._overrides.close()

    def snapshot(self) -> Snapshot:
        """What is known now; waits up to half a second if nobody has looked for a while, and never raises."""
        return _together(self._fleet.newest(), self._overrides.newest())

    def minutes(self) -> Reading[tuple[Minute, ...]]:
        """The minutes of the last hour, oldest first, as they were read last; never raises."""
        return self._minutes.newest()

    def wait_for_look(self, looks: int, *, timeout: float) -> Snapshot:
        """The snapshot as soon as Redis was asked once more than `looks` times, answer or not; else after `timeout` s.

        A page that follows waits with this, because it wants to hear of an outage, too.
        """
        return _together(self._fleet.after(looks, timeout=timeout), self._overrides.newest(patience=0.0))


def _read_fleet(store: redis.Redis) -> _Fleet:
    maintenance = read_maintenance(cast("bytes | None", store.get(MAINTENANCE_KEY)))
    return _Fleet(tuple(list_reports(store)), maintenance)


def _together(fleet: Reading[_Fleet], overrides: Reading[tuple[Override, ...]]) -> Snapshot:
    return Snapshot(
        at=fleet.at,
        workers=fleet.value.workers,
        maintenance=fleet.value.maintenance,
        redis_error=fleet.error,
        overrides=overrides.value,
        overrides_at=overrides.at,
        database_error=overrides.error,
        looks=fleet.attempts,
    )
