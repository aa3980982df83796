"""An ElevenLabs on a real socket that takes note of the keys it is shown."""

from __future__ import annotations

import threading
import time

from tests.integration.elevenlabs.scripted_upstream import Peer


class KeyKeeper:
    """An ElevenLabs that speaks for the keys in `good`, says 401 to others, and notes who came when."""

    def __init__(self) -> None:
        self.good: set[str] = set()
        self.seen: list[tuple[float, str, bool]] = []  # monotonic time, key, whether it was good
        self._lock = threading.Lock()

    def script(self, peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            key = request.headers["xi-api-key"]
            is_good = key in self.good
            with self._lock:
                self.seen.append((time.monotonic(), key, is_good))
            if is_good:
                peer.answer(b"audio")
            else:
                words = b'{"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}'
                peer.answer(words, "401 Unauthorized", content_type="application/json")

    def first_use(self, key: str) -> float | None:
        """When `key` was first used (monotonic)."""
        return next((at for at, used, _ in self.seen if used == key), None)
