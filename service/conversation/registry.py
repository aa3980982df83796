"""The conversations of this worker: how many there may be, and the ways to end them all.

The key decision: what the registry knows of a conversation is its name, who leads it and how it is ended
(`HeldConversation`); it is in the registry for as long as its thread runs, also while its client is away.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from service.conversation.draining import DrainableConversation, DrainTimes, drain_all
from service.errors import MaintenanceError, ServiceUnavailableError
from service.metrics_conversations import capacity_is, conversation_is_live


class HeldConversation(DrainableConversation, Protocol):
    """A conversation as its worker sees it."""

    @property
    def conversation_id(self) -> str | None:
        """Its id; None until the metadata has come."""

    @property
    def provider(self) -> str:
        """Who leads it now; empty before its first leg."""


class ConversationRegistry:
    """Holds the live conversations; `capacity` is how many this worker takes, `times` how it leaves."""

    def __init__(self, *, capacity: int, times: DrainTimes | None = None) -> None:
        self._capacity = capacity
        self._times = times or DrainTimes()
        self._live: set[HeldConversation] = set()
        self._lock = threading.Lock()
        self._draining = False
        self._is_shut = False

    @property
    def capacity(self) -> int:
        """How many conversations this worker takes."""
        return self._capacity

    def announce(self) -> None:
        """Tell the metrics how many there may be."""
        capacity_is(self._capacity)

    @contextmanager
    def place(self, conversation: HeldConversation) -> Iterator[None]:
        """A place for `conversation` for as long as it runs.

        Raises:
            MaintenanceError: operators have closed the service.
            ServiceUnavailableError: all places are taken, or the worker is leaving.
        """
        with self._lock:
            self._check()
            self._live.add(conversation)
        conversation_is_live(1)
        try:
            yield
        finally:
            with self._lock:
                self._live.discard(conversation)
            conversation_is_live(-1)

    def check(self) -> None:
        """Raises as `place` if there would be no place now: before a ticket or a token is used up."""
        with self._lock:
            self._check()

    def _check(self) -> None:
        if self._is_shut:
            raise MaintenanceError
        if self._draining or len(self._live) >= self._capacity:
            raise ServiceUnavailableError("No conversation can be taken now; try again.", retry_after=2.0)

    def __len__(self) -> int:
        return len(self._live)

    @property
    def is_draining(self) -> bool:
        """Whether this worker is leaving."""
        return self._draining

    def drain(self) -> None:
        """Take no more conversations, and send every client away between two turns (1012, service restart).

        Returns when all have gone, or were told to go at once; at most a second after the turn's time.
        """
        with self._lock:
            if self._draining:
                return
            self._draining = True
        drain_all(self._all(), self._all, self._times)

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
        for conversation in self._all():
            # Each has its own thread: one client that does not read must not keep the others waiting.
            threading.Thread(target=conversation.end, args=(code, reason), daemon=True).start()

    def end_one(self, conversation_id: str, code: int, reason: str) -> bool:
        """End the conversation of that id, if it is here; waits for nothing. Whether it was."""
        found = [each for each in self._all() if each.conversation_id == conversation_id]
        for conversation in found:
            threading.Thread(target=conversation.end, args=(code, reason), daemon=True).start()
        return bool(found)

    def speaking(self) -> dict[str, int]:
        """How many of them each provider leads now; those that are being opened are nobody's."""
        return dict(Counter(each.provider for each in self._all() if each.provider))

    def _all(self) -> list[HeldConversation]:
        with self._lock:
            return list(self._live)
