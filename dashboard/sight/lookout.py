"""A thread that reads something again and again while somebody wants to know, and keeps what it read last.

The key decision: whoever asks gets what lies there and waits only if nobody has looked for a while. So a hundred open
pages cost one reading each time, none costs nothing, and a store that hangs holds up this thread and nobody's page.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import structlog

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 1.0
WANTED_SECONDS = 10.0
"""How long after the last question it goes on reading."""

FRESH_INTERVALS = 2.5
"""A reading that is older than so many intervals is waited for anew."""

PATIENCE_SECONDS = 0.5
IDLE_SECONDS = 60.0

T = TypeVar("T")


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What was read last, when (Unix time; 0: never), and what is wrong with the newest attempt."""

    value: T
    at: float = 0.0
    error: str | None = None
    attempts: int = 0


class Lookout(Generic[T]):
    """Calls `read` in a thread of its own; what it raises is kept as the error's class and never passed on."""

    def __init__(
        self, read: Callable[[], T], *, name: str, nothing: T, interval_seconds: float = INTERVAL_SECONDS
    ) -> None:
        self._read = read
        self._interval_seconds = interval_seconds
        self._name = name
        self._changed = threading.Condition()
        self._wanted = threading.Event()
        self._leaves = threading.Event()
        self._asked_at = 0.0
        self._tried_at: float | None = None
        self._newest: Reading[T] = Reading(nothing)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Be ready to read; nothing is read until somebody asks."""
        self._thread = threading.Thread(target=self._look_on, name=self._name, daemon=True)
        self._thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether it reads no more."""
        return self._leaves.is_set()

    def close(self, timeout: float = 1.0) -> None:
        """Read no more; waits `timeout` s at most for a reading that is under way."""
        self._leaves.set()
        self._wanted.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout)

    def newest(self, *, patience: float = PATIENCE_SECONDS) -> Reading[T]:
        """What is known; if nobody has looked lately, a new reading is waited for, `patience` s at most."""
        self._ask()
        with self._changed:
            self._changed.wait_for(lambda: self._is_fresh() or self._leaves.is_set(), patience)
            return self._newest

    def after(self, attempts: int, *, timeout: float) -> Reading[T]:
        """What is known as soon as somebody has tried to read after the first `attempts`, or `timeout` s are over."""
        self._ask()
        with self._changed:
            self._changed.wait_for(lambda: self._newest.attempts > attempts or self._leaves.is_set(), timeout)
            return self._newest

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        self._wanted.set()

    def _is_fresh(self) -> bool:
        return (
            self._tried_at is not None and time.monotonic() - self._tried_at < FRESH_INTERVALS * self._interval_seconds
        )

    def _look_on(self) -> None:
        while not self._leaves.is_set():
            if time.monotonic() - self._asked_at > WANTED_SECONDS:
                self._wanted.clear()
                # Whoever asks notes the time first: a question between the two lines above is seen here.
                if time.monotonic() - self._asked_at > WANTED_SECONDS:
                    self._wanted.wait(IDLE_SECONDS)
                continue
            began = time.monotonic()
            self._note(self._look())
            self._leaves.wait(max(0.0, self._interval_seconds - (time.monotonic() - began)))

    def _look(self) -> Reading[T]:
        before = self._newest
        began_at = time.time()
        try:
            found = self._read()
        except Exception as exc:  # noqa: BLE001 (the edge of a worker loop: pages show what is known, and what is wrong)
            if before.error is None:  # once, not every second
                log.warning("a store is not seen", seen_by=self._name, error=type(exc).__name__)
            return replace(before, error=type(exc).__name__, attempts=before.attempts + 1)
        if before.error is not None:
            log.info("a store is seen again", seen_by=self._name)
        return Reading(found, at=began_at, attempts=before.attempts + 1)

    def _note(self, reading: Reading[T]) -> None:
        with self._changed:
            self._newest = reading
            self._tried_at = time.monotonic()
            self._changed.notify_all()
