"""The conversations of this worker: how many there may be, and the way to end them all when it leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from service.conversation.conversation import Conversation
from service.errors import MaintenanceError, ServiceUnavailableError


class ConversationRegistry:
    """Holds the live conversations; `capacity` is how many this worker takes."""

    def __init__(self, *, capacity: int) -> None:
        self._capacity = capacity
        self._live: set[Conversation] = set()
        self._lock = threading.Lock()
        self._draining = False
        self._is_shut = False

    @contextmanager
    def place(self, conversation: Conversation) -> Iterator[None]:
        """A place for `conversation` for as long as it runs.

        Raises:
            MaintenanceError: operators have closed the service.
            ServiceUnavailableError: all places are taken, or the worker is leaving.
        """
        with self._lock:
            if self._is_shut:
                raise MaintenanceError
            if self._draining or len(self._live) >= self._capacity:
                raise ServiceUnavailableError("No conversation can be taken now; try again.", retry_after=2.0)
            self._live.add(conversation)
        try:
            yield
        finally:
            with self._lock:
                self._live.discard(conversation)

    def __len__(self) -> int:
        return len(self._live)

    def drain(self) -> None:
        """Take no more conversations, and tell every client to come back (1012, service restart)."""
        with self._lock:
            self._draining = True
        self.end_all(1012, "The service is restarting; connect again.")

    def shut(self) -> None:
        """Refuse every new conversation until `reopen`; those that run go on."""
        with self._lock:
            self._is_shut = True

    def reopen(self) -> None:
        """Take new conversations again."""
        with self._lock:
            self._is_shut = False

    def end_all(self, code: int, reason: str) -> None:
        """End every conversation that runs; waits for none of them."""
        with self._lock:
            leaving = list(self._live)
        for conversation in leaving:
            # Each has its own thread: one client that does not read must not keep the others waiting.
            threading.Thread(target=conversation.end, args=(code, reason), daemon=True).start()
