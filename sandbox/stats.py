"""What the sandbox was asked and what it did: the oracle that a test compares its own story with.

The key decision: everything is counted by the server at the moment it acts, and every list is bounded.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SPOKEN_TEXTS_KEPT = 500


class Stats:
    """Counters of one sandbox; safe from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open_sockets: Counter[str] = Counter()
        self._clear()

    def _clear(self) -> None:
        self._requests: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._closes: Counter[str] = Counter()
        self._sockets: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._characters = 0
        self._spoken: deque[dict[str, str]] = deque(maxlen=SPOKEN_TEXTS_KEPT)

    @property
    def characters(self) -> int:
        """Characters that were asked to be spoken by the text-to-speech routes since the last reset."""
        return self._characters

    def request(self, route: str) -> None:
        """Count a request (or an upgrade) on its way in."""
        with self._lock:
            self._requests[route] += 1

    def answered(self, status: int) -> None:
        """Count an HTTP answer by its status."""
        with self._lock:
            self._statuses[str(status)] += 1

    def closed(self, code: int) -> None:
        """Count a socket that the sandbox closed with `code`."""
        with self._lock:
            self._closes[str(code)] += 1

    def fault_fired(self, route: str) -> None:
        """Count a fault that a rule brought about on `route`."""
        with self._lock:
            self._faults[route] += 1

    def spoken(self, route: str, voice: str, text: str, *, billed: bool = True) -> None:
        """Remember a text that was asked to be spoken; `billed` ones count as characters of the account."""
        with self._lock:
            self._characters += len(text) if billed else 0
            self._spoken.append({"route": route, "voice_id": voice, "text": text})

    @contextmanager
    def socket(self, route: str) -> Iterator[None]:
        """Count a socket as open for the block."""
        with self._lock:
            self._open_sockets[route] += 1
            self._sockets[route] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open_sockets[route] -= 1

    def reset(self) -> None:
        """Forget everything but the sockets that are open."""
        with self._lock:
            self._clear()

    def snapshot(self) -> dict[str, Any]:
        """Give all counters as JSON values."""
        with self._lock:
            return {
                "requests": dict(self._requests),
                "statuses": dict(self._statuses),
                "closes": dict(self._closes),
                "sockets": dict(self._sockets),
                "open_sockets": {route: count for route, count in self._open_sockets.items() if count},
                "characters": self._characters,
                "spoken": list(self._spoken),
                "faults": dict(self._faults),
            }
