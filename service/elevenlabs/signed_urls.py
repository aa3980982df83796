"""Signed URLs of one agent, fetched before anybody asks for them, so that a conversation need not wait for one.

The key decision: they lie on a shelf of their own and not with a connection. A URL is good for minutes, a connection
for less than one, and a connection may be taken for another agent: neither then costs a URL. And nobody who waits for a
connection waits for a URL.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog

from service.errors import UpstreamError, VoceroError

log = structlog.get_logger(__name__)

BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 1.0, 60.0


class _Fetched(NamedTuple):
    url: str
    asked_at: float


class SignedUrlShelf:
    """Keeps `size` URLs that `fetch` brings, none used when older than `max_age_seconds`, each given out once.

    Without `start` it stays empty.
    """

    def __init__(self, fetch: Callable[[], str], *, size: int, max_age_seconds: float) -> None:
        self._fetch = fetch
        self._size = size
        self._max_age_seconds = max_age_seconds
        self._urls: deque[_Fetched] = deque()
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to fetch; nothing if there is nothing to be kept."""
        if self._size > 0 and self._max_age_seconds > 0:
            self._thread = threading.Thread(target=self._keep_full, name="signed-urls", daemon=True)
            self._thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """Fetch no more, and wait at most so many seconds for a fetch that is under way."""
        self._is_closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def take(self) -> str | None:
        """The oldest URL that is young enough; None if there is none."""
        with self._lock:
            self._throw_old_away()
            found = self._urls.popleft() if self._urls else None
        self._wake.set()
        return found.url if found else None

    def forget(self) -> None:
        """Give out none that was asked for until now: the key that they speak for is to be used no longer."""
        with self._lock:
            self._not_before = time.monotonic()
            self._throw_old_away()
        self._wake.set()

    def __len__(self) -> int:
        with self._lock:
            self._throw_old_away()
            return len(self._urls)

    def _throw_old_away(self) -> None:
        oldest = max(self._not_before, time.monotonic() - self._max_age_seconds)
        while self._urls and self._urls[0].asked_at <= oldest:
            self._urls.popleft()

    # --- The thread

    def _keep_full(self) -> None:
        failures = 0
        while not self._is_closed:
            self._wake.clear()
            if len(self) >= self._size:
                self._wake.wait(self._seconds_to_the_next_change())
                continue
            failures = 0 if self._add_one() else failures + 1
            if failures:  # who takes one meanwhile does not make us ask sooner
                self._sleep(min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** min(failures - 1, 16)))

    def _add_one(self) -> bool:
        asked_at = time.monotonic()
        try:
            url = self._fetch()
        except VoceroError as exc:
            # Whoever opens a conversation is told what is wrong, if it still is.
            log.info("no signed URL fetched ahead", code=exc.code if isinstance(exc, UpstreamError) else None)
            return False
        except Exception:  # the edge of a worker loop: without it nothing would be fetched ahead for ever
            log.exception("no signed URL fetched ahead")
            return False
        with self._lock:
            self._urls.append(_Fetched(url, asked_at))
        return True

    def _seconds_to_the_next_change(self) -> float:
        with self._lock:
            oldest = self._urls[0].asked_at if self._urls else time.monotonic()
        return max(0.0, oldest + self._max_age_seconds - time.monotonic())

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds * random.uniform(0.5, 1.0)  # noqa: S311 (it is no secret)
        while not self._is_closed and (left := until - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()
