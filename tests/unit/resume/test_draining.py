"""A worker that leaves: hints that are spread evenly, turns that may end, and a bound whatever the clients do."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from service.conversation.draining import DrainTimes, reconnect_hints
from service.conversation.registry import ConversationRegistry
from service.errors import MaintenanceError, ServiceUnavailableError

LIMIT = 20.0


class Talk:
    """A conversation whose thread runs until it has ended; `is_stubborn`: it never comes to its turn's end."""

    def __init__(self, registry: ConversationRegistry, *, is_stubborn: bool = False) -> None:
        self._is_stubborn = is_stubborn
        self.hint = -1.0
        self.code = 0
        self._over = threading.Event()
        self._placed = threading.Event()
        threading.Thread(target=self._run, args=(registry,), daemon=True).start()
        assert self._placed.wait(LIMIT)

    def _run(self, registry: ConversationRegistry) -> None:
        with registry.place(self):
            self._placed.set()
            self._over.wait(LIMIT)

    def drain(self, reconnect_in_seconds: float) -> None:
        self.hint = reconnect_in_seconds
        if not self._is_stubborn:
            self._over.set()

    def end(self, code: int, reason: str) -> None:
        self.code = code
        self._over.set()


def test_the_hints_are_spread_evenly_and_at_random() -> None:
    hints = reconnect_hints(100, 10.0)
    assert [int(hint * 10) for hint in sorted(hints)] == pytest.approx(list(range(100)), abs=1)
    assert hints != sorted(hints)
    assert hints != reconnect_hints(100, 10.0)
    assert reconnect_hints(0, 10.0) == []
    assert reconnect_hints(3, 0.0) == [0.0, 0.0, 0.0]


def test_every_conversation_is_told_once_and_nobody_new_is_taken() -> None:
    registry = ConversationRegistry(capacity=100, times=DrainTimes(turn_seconds=LIMIT, spread_seconds=4.0))
    talks = [Talk(registry) for _ in range(40)]
    registry.check()
    began = time.monotonic()
    registry.drain()
    assert time.monotonic() - began < LIMIT / 2  # it does not wait for time that nobody needs
    assert len(registry) == 0
    assert all(0 <= talk.hint <= 4 for talk in talks)
    assert {talk.code for talk in talks} == {0}
    assert registry.is_draining
    with pytest.raises(ServiceUnavailableError):
        registry.check()
    with pytest.raises(ServiceUnavailableError), ExitStack() as stack:
        stack.enter_context(registry.place(talks[0]))


def test_a_turn_that_does_not_end_is_ended_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.conversation.draining.NOTICE_SECONDS", 0.1)
    registry = ConversationRegistry(capacity=10, times=DrainTimes(turn_seconds=0.1, spread_seconds=0.0))
    polite, stubborn = Talk(registry), Talk(registry, is_stubborn=True)
    registry.drain()
    assert stubborn._over.wait(LIMIT)
    assert (polite.code, stubborn.code) == (0, 1012)


def test_leaving_twice_is_leaving_once() -> None:
    registry = ConversationRegistry(capacity=10, times=DrainTimes(turn_seconds=0.0))
    registry.drain()
    registry.drain()


def test_the_doors_are_looked_at_before_a_ticket_is_used_up() -> None:
    registry = ConversationRegistry(capacity=0)
    with pytest.raises(ServiceUnavailableError):
        registry.check()
    registry = ConversationRegistry(capacity=1)
    registry.shut()
    with pytest.raises(MaintenanceError):
        registry.check()
    registry.reopen()
    registry.check()
