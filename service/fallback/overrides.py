"""`OverrideBoard`: what the admins have ordered, for each capability, as this worker knows it.

The key decision: the database is the truth, Redis spreads it, and a worker's memory is what is obeyed. So an order is
heard within a second while Redis is there, within some seconds while only the database is, and without both the last
one holds until its own expiry, which every worker looks at by its own clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import redis
import structlog

from service import metrics_fallback
from service.errors import RequestError, ServiceUnavailableError
from service.fallback.override_notes import OverrideNotes
from service.storage import AuditLog, Capability, Database, Override, OverrideMode, Overrides

log = structlog.get_logger(__name__)

STANDARD_SECONDS = 3600.0
LONGEST_SECONDS = 86_400.0
MOST_UNLIMITED_SECONDS = 1e9
DATABASE_SECONDS = 2.0
"""Between two looks at the database while Redis is away."""

CALM_DATABASE_SECONDS = 10.0
"""Between two looks while Redis is there: an order may have reached the database alone."""

MOST_TIMES_BEHIND = 2
"""Looks at the database that must say the same before an older version than ours is believed: it was restored."""

ACTION = "override.set"


def asked_by(chain: Sequence[str], mode: OverrideMode) -> tuple[str, ...]:
    """Who of the chain is asked at all under `mode`, in its order."""
    if mode is OverrideMode.DISABLED:
        return ()
    if mode is OverrideMode.FORCED_PRIMARY:
        return tuple(chain[:1])
    return tuple(chain[1:] if mode is OverrideMode.FORCED_FALLBACK else chain)


class OverrideBoard:
    """Holds the override of each capability. Reading waits for nothing; `look` belongs to one thread.

    `store` needs short timeouts. `now` is the wall clock, `clock` the monotonic one.
    """

    def __init__(
        self,
        database: Database,
        store: redis.Redis,
        *,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._database = database
        self._overrides = Overrides(database)
        self._audit = AuditLog(database)
        self._notes = OverrideNotes(store)
        self._now = now or _utc_now
        self._clock = clock or _monotonic
        self._lock = threading.Lock()
        self._held = {each: Override(each, OverrideMode.AUTO, 0) for each in Capability}
        self._behind = dict.fromkeys(Capability, 0)
        self._told: dict[Capability, tuple[OverrideMode, int]] = {}
        self._is_known = False
        self._read_at: float | None = None

    # --- What is in force

    def mode(self, capability: Capability) -> OverrideMode:
        """The mode that holds now: `auto` as soon as the override has expired."""
        return self._held[capability].mode_at(self._now())

    def current(self, capability: Capability) -> Override:
        """The newest override that this worker knows; it may have expired."""
        return self._held[capability]

    def obeyed(self) -> dict[Capability, int]:
        """The version of the override that is in force, for each capability; 0: none was ever set, or it is over."""
        found = {}
        for capability in Capability:
            held = self._held[capability]
            found[capability] = held.version if held.mode_at(self._now()) is held.mode else 0
        return found

    # --- Setting

    def set(
        self,
        capability: Capability,
        mode: OverrideMode,
        *,
        reason: str,
        author: str,
        expected_version: int,
        seconds: float | None = STANDARD_SECONDS,
        allow_unlimited: bool = False,
        address: str | None = None,
        request_id: str | None = None,
    ) -> Override:
        """Order `mode` for `seconds` (None: until further notice), if the version is still `expected_version`.

        The order and its audit entry are in the database together or not at all; this worker obeys at once.

        Raises:
            RequestError: no reason or no author, or too long a time without `allow_unlimited`.
            OverrideConflictError: somebody else was faster; it holds what they ordered.
            ServiceUnavailableError: the database does not answer; whether it was set must be looked up.
        """
        _check(reason, author, seconds, allow_unlimited=allow_unlimited)
        expires_at = None if seconds is None else self._now() + timedelta(seconds=seconds)
        before = self._overrides.get(capability)
        with self._database.writing() as session:
            made = self._overrides.set(
                capability, mode, reason=reason.strip(), author=author.strip(), expires_at=expires_at,
                expected_version=expected_version, within=session,
            )  # fmt: skip
            self._audit.append(
                actor=made.author, action=ACTION, subject=capability.value, before=_as_json(before),
                after=_as_json(made), address=address, request_id=request_id, within=session,
            )  # fmt: skip
        self._take(made)
        with suppress(redis.RedisError):  # whoever looks at the database finds it, and puts it there
            self._notes.put(made)
        return made

    # --- Hearing

    def look(self) -> None:
        """Look whether there is something new; called every now and then by one thread.

        Raises:
            RedisError: Redis did not answer. The database was asked in its place, if it was time.
        """
        try:
            self._look_in_redis()
        except redis.RedisError:
            self._look_in_database_after(DATABASE_SECONDS)
            raise
        finally:
            self._tell()
        self._look_in_database_after(CALM_DATABASE_SECONDS if self._is_known else DATABASE_SECONDS)

    def _look_in_redis(self) -> None:
        for capability, found in self._notes.read().items():
            held = self._held[capability]
            if found is not None:
                self._take(found)
            if held.version > (0 if found is None else found.version):
                self._notes.put(held)  # it was emptied, or is behind

    def _look_in_database_after(self, seconds: float) -> None:
        now = self._clock()
        if self._read_at is not None and now < self._read_at + seconds:
            return
        self._read_at = now
        try:
            found = self._overrides.list_all()
        except ServiceUnavailableError:
            return  # the last one that we know holds until it expires
        self._is_known = True
        for override in found:
            self._compare(override)

    def _compare(self, truth: Override) -> None:
        """Take what the database says, even something older if it keeps saying so: then it was restored."""
        capability, held = truth.capability, self._held[truth.capability]
        if truth.version > held.version or truth == held:
            self._behind[capability] = 0
            self._take(truth)
            return
        self._behind[capability] += 1
        if self._behind[capability] < MOST_TIMES_BEHIND:
            return
        log.warning(
            "the database has another override than we knew, and is believed",
            capability=capability.value, version=truth.version, known=held.version,
        )  # fmt: skip
        with self._lock:
            self._held[capability] = truth
            self._behind[capability] = 0
        with suppress(redis.RedisError):  # the others find out by themselves
            self._notes.put(truth, force=True)

    def _take(self, override: Override) -> None:
        with self._lock:
            if override.version <= self._held[override.capability].version:
                return
            self._held[override.capability] = override
        if self.mode(override.capability) is override.mode:  # not one that has expired before we started
            log.warning(
                "an override was set",
                capability=override.capability.value,
                mode=override.mode.value,
                version=override.version,
                author=override.author,
                expires_at=None if override.expires_at is None else override.expires_at.isoformat(),
            )
        self._tell()

    def _tell(self) -> None:
        """Tell what is obeyed, and when an order is over."""
        for capability in Capability:
            mode, held = self.mode(capability), self._held[capability]
            with self._lock:
                before = self._told.get(capability)
                self._told[capability] = (mode, held.version)
            if before == (mode, held.version):
                continue
            is_over = mode is not held.mode
            set_at = 0.0 if held.set_at is None or mode is OverrideMode.AUTO else held.set_at.timestamp()
            metrics_fallback.override_is(capability, mode, set_at=set_at)
            if is_over and before is not None:
                log.warning("an override has expired", capability=capability.value, version=held.version)


def _check(reason: str, author: str, seconds: float | None, *, allow_unlimited: bool) -> None:
    for name, text in (("reason", reason), ("author", author)):
        if not text.strip():
            raise RequestError(f"An override needs its {name}.", code="missing_required_field", param=name)
    longest = MOST_UNLIMITED_SECONDS if allow_unlimited else LONGEST_SECONDS
    if (seconds is None and not allow_unlimited) or (seconds is not None and not 0 < seconds <= longest):
        message = f"An override lasts more than 0 and at most {longest:g} seconds."
        raise RequestError(message, code="invalid_parameters", param="seconds")


def _as_json(override: Override) -> dict[str, object]:
    return {
        "mode": override.mode.value,
        "version": override.version,
        "reason": override.reason,
        "expires_at": None if override.expires_at is None else override.expires_at.isoformat(),
    }


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _monotonic() -> float:
    return time.monotonic()
