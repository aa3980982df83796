"""One run of a job, as the job sees it: where it may be stopped, and how long it still has.

The key decision: a job works in steps that take moments, and asks between any two of them. So it holds up neither a
process that leaves nor a maintenance, loses nothing when its lease is gone, and gives others room: SQLite's writers,
and the other greenlets of its worker.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from service.errors import ServiceUnavailableError, VoceroError

T = TypeVar("T")

PAUSE_SECONDS = 0.05
PROLONG_SECONDS = 20.0
ATTEMPTS = 5
LONGEST_DELAY_SECONDS = 1.0


class RunStoppedError(VoceroError):
    """A run has to end between two steps: what is done is done, and the next run goes on from there."""


def _never() -> bool:
    return False


def _always() -> bool:
    return True


class Run:
    """What a job asks between its steps.

    `is_shut` tells of a maintenance, `leaves` is set when the process ends, `prolong` prolongs the lease and tells
    whether there still is one. After `seconds` the run has no more time (None: it has as much as it needs).
    """

    def __init__(
        self,
        *,
        leaves: threading.Event | None = None,
        is_shut: Callable[[], bool] = _never,
        prolong: Callable[[], bool] = _always,
        seconds: float | None = None,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._leaves = leaves or threading.Event()
        self._is_shut = is_shut
        self._prolong = prolong
        self._pause_seconds = pause_seconds
        now = time.monotonic()
        self._ends_at = None if seconds is None else now + seconds
        self._prolong_at = now + PROLONG_SECONDS

    @property
    def has_time(self) -> bool:
        """Whether another step may be begun."""
        return self._ends_at is None or time.monotonic() < self._ends_at

    def step(self, pause_seconds: float | None = None) -> None:
        """Call between two steps.

        Raises:
            RunStoppedError: the run must end here.
        """
        if self._leaves.wait(self._pause_seconds if pause_seconds is None else pause_seconds):
            raise RunStoppedError("the process is leaving")
        if self._is_shut():
            raise RunStoppedError("the service is in maintenance")
        if time.monotonic() >= self._prolong_at:
            self._prolong_at = time.monotonic() + PROLONG_SECONDS
            if not self._prolong():
                raise RunStoppedError("another has taken the job")

    def patiently(self, step: Callable[[], T]) -> T:
        """What `step` brings; a database that is locked for a moment is asked again, a few times.

        Raises:
            ServiceUnavailableError: it is not only a moment.
            RunStoppedError: the run must end here.
        """
        for attempt in range(ATTEMPTS - 1):
            try:
                return step()
            except ServiceUnavailableError:
                most = min(LONGEST_DELAY_SECONDS, PAUSE_SECONDS * 2.0**attempt)
            self.step(random.uniform(0.0, most))  # noqa: S311 (it is no secret)
        return step()
