"""Closing the service for the length of a rollback, and knowing that it is closed.

The key decision: a maintenance counts as begun when every worker that reports says that it has seen it and that no
conversation and no write is left in it, not when the key was set. The key is set anew each second while we work,
because a Redis that is restarted without its data would open the service in the middle.
"""

from __future__ import annotations

import threading
import time
from typing import cast

import redis

from scripts.reversal.databases.keeper import Tell
from scripts.reversal.failures import StepError
from scripts.reversal.terms import Terms
from service.maintenance import MAINTENANCE_KEY, Maintenance, read_maintenance
from service.pool_reports import WorkerReport, list_reports

LOOK_SECONDS = 0.2
MARGIN_SECONDS = 15.0
"""What a worker may take to notice, to close what is left, and to say so."""

REOPEN_SECONDS = 5.0
KEEP_SECONDS = 1.0


class Closing:
    """The maintenance of one rollback."""

    def __init__(self, store: redis.Redis, terms: Terms) -> None:
        self._store = store
        self._terms = terms
        self._mine = Maintenance(
            reason=terms.reason,
            by=f"{terms.actor} (rollback {terms.id})",
            since=time.time(),
            drain_seconds=terms.drain_seconds,
        )
        self._lock = threading.Lock()
        self._ends: threading.Event | None = None

    def begin(self) -> None:
        """Close the service, unless somebody has done so already: then it is theirs, and stays closed after us."""
        self._store.set(MAINTENANCE_KEY, self._mine.as_json(), nx=True)
        if self._ends is None:
            self._ends = threading.Event()
            threading.Thread(target=self._keep, args=(self._ends,), name="maintenance", daemon=True).start()

    def wait_until_empty(self, tell: Tell) -> dict[str, int]:
        """Wait until no worker has anything left; how many workers there are.

        Raises:
            StepError: one of them has, when the time is over.
        """
        end = time.monotonic() + self._terms.drain_seconds + MARGIN_SECONDS
        while True:
            reports = list_reports(self._store)
            left = _left(reports)
            if not left:
                return {"workers": len(reports)}
            if time.monotonic() > end:
                raise StepError(f"The service was not empty in time: {left}.")
            tell(f"{left}; {max(0.0, end - time.monotonic()):.0f} s left")
            time.sleep(LOOK_SECONDS)

    def end(self, tell: Tell) -> str:
        """Open the service again; what is left to say about it, if anything."""
        self.stop_keeping()
        found = find(self._store)
        if found is not None and not self._is_mine(found):
            return f"The service stays in the maintenance that {found.by} has begun: {found.reason}."
        self._store.delete(MAINTENANCE_KEY)
        end = time.monotonic() + REOPEN_SECONDS
        while closed := [report for report in list_reports(self._store) if report.maintenance]:
            if time.monotonic() > end:
                return f"{len(closed)} of the workers have not reopened yet; look at their /readyz."
            tell(f"waiting for {len(closed)} workers")
            time.sleep(LOOK_SECONDS)
        return ""

    def stop_keeping(self) -> None:
        """Leave the key as it is."""
        if self._ends is not None:
            with self._lock:  # so that it is not being set just now
                self._ends.set()
            self._ends = None

    def _is_mine(self, found: Maintenance) -> bool:
        return found.by.endswith(f"(rollback {self._terms.id})")

    def _keep(self, ends: threading.Event) -> None:
        while not ends.wait(KEEP_SECONDS):
            with self._lock:
                if not ends.is_set():
                    self._set()

    def _set(self) -> None:
        try:
            self._store.set(MAINTENANCE_KEY, self._mine.as_json(), nx=True)
        except redis.RedisError:
            return  # the workers keep what they last knew, and so do we


def find(store: redis.Redis) -> Maintenance | None:
    """The maintenance that there is now."""
    return read_maintenance(cast("bytes | None", store.get(MAINTENANCE_KEY)))


def _left(reports: list[WorkerReport]) -> str:
    """What is still going on, in words; empty if nothing is."""
    unaware = [report for report in reports if report.maintenance is None]
    if unaware:
        raise StepError(
            f"Worker {unaware[0].worker} on {unaware[0].node} is too old to be closed from here: stop that service."
        )
    parts = [
        (sum(not report.maintenance for report in reports), "workers that have not noticed"),
        (sum(report.conversations for report in reports), "conversations"),
        (sum(report.writes_pending for report in reports), "writes on their way"),
    ]
    return ", ".join(f"{count} {what}" for count, what in parts if count)


def open_again(store: redis.Redis) -> None:
    """End whatever maintenance there is."""
    store.delete(MAINTENANCE_KEY)
