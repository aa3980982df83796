"""Looks after a leg while it speaks: whether it keeps its time, and whether somebody else should speak after it.

The key decision: two timers of the event loop. The quick one runs only while an answer is awaited or spoken; the slow
one costs next to nothing and acts only between two turns, when nobody is interrupted by a change. Neither waits for
anything: what they find ends the relay, and the conversation's own thread does the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from service.conversation.event_loop import Loop
from service.conversation.relay import Relay
from service.conversation.turns import TurnTracker
from service.errors import UpstreamTimeoutError, VoceroError

QUICK_SECONDS = 0.1
SLOW_SECONDS = 1.0

PATIENCE_SECONDS = 30.0
"""For which an agent that is late is not timed again, when nobody could answer in its place."""


class TurnBoundary(VoceroError):  # noqa: N818 (it is no error)
    """The relay was ended between two turns: see whether another provider should speak, or whether it is time to go."""


class OverdueError(UpstreamTimeoutError):
    """The agent keeps the user waiting; its connection is there all the same."""


class LegWatch:
    """Watches the leg of one conversation at a time.

    `patience` gives the seconds that the agent's first sound may take, `stall_seconds` is what a gap in its answer may
    (0: neither is watched). `on_answer` is told how long each answer took. `wants_to_act` is asked whether there is
    something to do now, and told whether it is between two turns.
    """

    def __init__(
        self,
        loop: Loop,
        tracker: TurnTracker,
        *,
        patience: Callable[[], float],
        stall_seconds: float,
        on_answer: Callable[[float], None],
        wants_to_act: Callable[[bool], bool],
    ) -> None:
        self._tracker = tracker
        self._patience = patience
        self._stall_seconds = stall_seconds
        self._on_answer = on_answer
        self._wants_to_act = wants_to_act
        self._quick = loop.timer(QUICK_SECONDS, QUICK_SECONDS)
        self._slow = loop.timer(SLOW_SECONDS, SLOW_SECONDS)
        self._relay: Relay | None = None
        self._is_quick = False
        self._times_answers = False

    def start(self, relay: Relay, *, times_answers: bool) -> None:
        """Watch the leg that `relay` carries; `times_answers`: somebody else could answer in its place."""
        self._relay = relay
        self._times_answers = times_answers and self._stall_seconds > 0
        self._slow.again(self._look_between_turns)
        self.stir()

    def stop(self) -> None:
        """Watch no more, until the next `start`."""
        self._relay = None
        self._is_quick = False
        self._quick.stop()
        self._slow.stop()

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._quick.close()
        self._slow.close()

    def stir(self) -> None:
        """Something was said: look closely for a while."""
        if not self._is_quick and self._relay is not None:
            self._is_quick = True
            self._quick.again(self._look)

    def _look(self) -> None:
        relay = self._relay
        if relay is None:
            return
        now = time.monotonic()
        seconds = self._tracker.take_answer_seconds()
        if seconds is not None:
            self._on_answer(seconds)
        if (
            self._times_answers
            and (overdue := self._tracker.due(now, self._patience(), self._stall_seconds)) is not None
        ):
            relay.break_off(OverdueError("The agent's answer does not come.", code=overdue.value))
        elif self._tracker.is_idle(now):
            self._is_quick = False
            self._quick.stop()
            self._look_between_turns()

    def _look_between_turns(self) -> None:
        relay = self._relay
        if relay is not None and self._wants_to_act(self._tracker.is_idle(time.monotonic())):
            relay.break_off(TurnBoundary())
