"""How long an agent that keeps everybody waiting is looked at: the loop is the test's, and so is the clock."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from service.conversation import watch
from service.conversation.turns import TurnTracker
from service.conversation.watch import QUICK_SECONDS, LegWatch, OverdueError
from tests.unit.turns.talks import Clock, response

GREETING = "Hello. How can I help you?"
PATIENCE_SECONDS = 12.0
"""Much more than it takes to say the greeting."""


class HandTimer:
    """A timer of a loop that the test turns by hand."""

    def __init__(self, repeat: float) -> None:
        self.repeat = repeat
        self.callback: Callable[[], None] | None = None

    def again(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def stop(self) -> None:
        self.callback = None

    close = stop


class HandLoop:
    """Goes round when it is told to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.timers: list[HandTimer] = []

    def timer(self, _after: float, repeat: float) -> HandTimer:
        self.timers.append(HandTimer(repeat))
        return self.timers[-1]

    def run(self, seconds: float) -> None:
        end = self._clock.now + seconds
        while self._clock.tick(QUICK_SECONDS) < end:
            for timer in self.timers:
                if timer.repeat <= QUICK_SECONDS and timer.callback is not None:
                    timer.callback()


class Broken:
    """A relay that notes why it was broken off."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def break_off(self, error: Exception) -> None:
        self.errors.append(error)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=clock))
    return clock


def greeted(clock: Clock, *, has_backup: bool) -> tuple[HandLoop, Broken, TurnTracker]:
    """An agent that is known to speak has written its greeting, and then nothing comes."""
    loop, relay, tracker = HandLoop(clock), Broken(), TurnTracker(clock=clock, is_sound_told=has_backup)
    tracker.expect_voice()
    watched: Any = LegWatch(
        loop,  # type: ignore[arg-type]
        tracker,
        patience=lambda: PATIENCE_SECONDS,
        stall_seconds=PATIENCE_SECONDS,
        on_answer=lambda _: None,
        wants_to_act=lambda _: False,
    )
    watched.start(relay, times_answers=has_backup)
    metadata = {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": {}}
    for message in (metadata, response(1, GREETING)):
        tracker.from_agent(message["type"], message)
    watched.stir()
    return loop, relay, tracker


def test_a_greeting_without_sound_is_waited_for_until_our_patience_ends_and_no_longer(clock: Clock) -> None:
    loop, relay, tracker = greeted(clock, has_backup=True)
    loop.run(PATIENCE_SECONDS - 1)
    assert relay.errors == []
    loop.run(2)
    assert relay.errors
    assert isinstance(relay.errors[0], OverdueError)
    assert tracker.takeover(clock.now).rest == GREETING  # nobody has heard it, however long it was ago


def test_where_nobody_could_speak_instead_nobody_looks_on(clock: Clock) -> None:
    loop, relay, _ = greeted(clock, has_backup=False)
    loop.run(2 * PATIENCE_SECONDS)
    assert relay.errors == []
    assert [timer.callback for timer in loop.timers if timer.repeat <= QUICK_SECONDS] == [None]
