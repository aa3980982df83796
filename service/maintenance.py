"""Maintenance: operators close the service for a while, on every worker of every node, with one key in Redis.

The key decision: a worker acts on what it last knew. The key is looked at once a second by the thread that reports to
Redis anyway (`pool_reports`), so no request asks Redis whether it is welcome; and with Redis away nothing changes, so
that an outage neither closes the service nor opens it in the middle of somebody's work. The key never expires: a
maintenance that was forgotten is told by `/readyz` and `python -m scripts.rollback status`, while one that ended by
itself would let people in on a database that is half-way between two schemas.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import orjson
import structlog

from service import redis_keys
from service.errors import MaintenanceError, SchemaError

log = structlog.get_logger(__name__)

MAINTENANCE_KEY = redis_keys.MAINTENANCE.prefix
DRAIN_SECONDS = 30.0
LONGEST_REASON = 500
LAST_WORDS = "The service is going into maintenance; come back in a few minutes."
_SERVICE_RESTART = 1012


@dataclass(frozen=True)
class Maintenance:
    """What operators say: why, who, since when (seconds since 1970), and how long conversations may still go on."""

    reason: str
    by: str
    since: float
    drain_seconds: float = DRAIN_SECONDS

    def as_json(self) -> bytes:
        """As it lies in Redis."""
        return orjson.dumps(asdict(self))


def read_maintenance(raw: bytes | None) -> Maintenance | None:
    """What the key's value says; None if there is no key. A value that somebody wrote by hand counts, too."""
    if raw is None:
        return None
    try:
        said = orjson.loads(raw)
    except orjson.JSONDecodeError:
        said = raw.decode("utf-8", "replace")
    fields = said if isinstance(said, dict) else {"reason": said}
    return Maintenance(
        reason=str(fields.get("reason") or "maintenance")[:LONGEST_REASON],
        by=str(fields.get("by") or "unknown")[:LONGEST_REASON],
        since=_number(fields.get("since"), 0.0),
        drain_seconds=_number(fields.get("drain_seconds"), DRAIN_SECONDS),
    )


def _number(found: object, otherwise: float) -> float:
    is_number = isinstance(found, int | float) and math.isfinite(found) and found >= 0
    return float(found) if is_number else otherwise  # type: ignore[arg-type]  # mypy does not see through the name


class Doors(Protocol):
    """What is shut for a maintenance: the worker's conversations (`ConversationRegistry`)."""

    def shut(self) -> None:
        """Refuse every new one with a MaintenanceError."""

    def reopen(self) -> None:
        """Take new ones again."""

    def end_all(self, code: int, reason: str) -> None:
        """End those that run."""


class MaintenanceWatch:
    """What this worker knows of a maintenance, and what it does about it.

    `observe` and `enforce` are called by one thread, once a second; everything else from anywhere. A maintenance may
    have changed the schema, so `check_schema` is asked before the doors open again: while it raises SchemaError, they
    stay shut.
    """

    def __init__(self, doors: Doors, *, check_schema: Callable[[], None] = lambda: None) -> None:
        self._doors = doors
        self._check_schema = check_schema
        self._current: Maintenance | None = None
        self._noticed_at = 0.0

    @property
    def current(self) -> Maintenance | None:
        """The maintenance that this worker has seen; None: it serves."""
        return self._current

    def is_on(self) -> bool:
        """Tell whether this worker has seen one."""
        return self._current is not None

    def check(self) -> None:
        """Raises MaintenanceError if nobody new may be served now."""
        if self._current is not None:
            raise MaintenanceError

    def observe(self, raw: bytes | None) -> None:
        """Take note of the value that the key has now."""
        found = read_maintenance(raw)
        if found is not None and self._current is None:
            self._noticed_at = time.monotonic()
            self._current = found
            self._doors.shut()
            log.warning("maintenance begins", reason=found.reason, by=found.by, drain_seconds=found.drain_seconds)
        elif found is None and self._current is not None:
            self._reopen(self._current)
        else:
            self._current = found

    def _reopen(self, ended: Maintenance) -> None:
        try:
            self._check_schema()
        except SchemaError as exc:
            if ended.reason != str(exc):
                log.warning("maintenance has ended, but the schema does not fit", reason=str(exc))
            self._current = replace(ended, reason=str(exc))
            return
        self._current = None
        self._doors.reopen()
        log.warning("maintenance has ended")

    def enforce(self) -> None:
        """End the conversations whose time to finish is over. By our own clock: another node's may be wrong."""
        current = self._current
        if current is not None and time.monotonic() - self._noticed_at >= current.drain_seconds:
            self._doors.end_all(_SERVICE_RESTART, LAST_WORDS)
