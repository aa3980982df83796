"""How long each agent takes for the first sound of its answers, and how long it is waited for.

The key decision: an agent is measured by its own last turns, because one thinks for half a second and another asks
three tools first. An answer that was given up counts with the time it was waited for: else an agent that has become
slower for good would be given up for ever.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field

LONGEST_WAIT_SECONDS = 15.0
KEPT_TURNS = 64
ENOUGH_TURNS = 20
"""Turns before an agent's own times count."""

MOST_AGENTS = 1_000
QUANTILE = 0.95


@dataclass
class _Agent:
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_TURNS))
    usual: float | None = None


class AnswerTimes:
    """The times of at most 1,000 agents, those that were used last; safe from several threads.

    `first_audio_seconds` is how late a first sound may be on top of what the agent needs (0: as late as it likes);
    `thinking_seconds` is what an agent needs until that is known.
    """

    def __init__(self, *, first_audio_seconds: float, thinking_seconds: float) -> None:
        self._first_audio_seconds = first_audio_seconds
        self._thinking_seconds = thinking_seconds
        self._lock = threading.Lock()
        self._agents: OrderedDict[str, _Agent] = OrderedDict()

    def usual(self, agent_id: str) -> float:
        """Seconds that 95 % of the agent's last first sounds came in."""
        with self._lock:
            agent = self._agents.get(agent_id)
            return self._thinking_seconds if agent is None or agent.usual is None else agent.usual

    def patience(self, agent_id: str) -> float:
        """Seconds that the agent's first sound may take; infinite if it is never too late."""
        if not self._first_audio_seconds:
            return math.inf
        longest = max(LONGEST_WAIT_SECONDS, self._first_audio_seconds)
        return min(self.usual(agent_id) + self._first_audio_seconds, longest)

    def note(self, agent_id: str, seconds: float) -> None:
        """A first sound came after `seconds`, or had not come when it was given up."""
        if not 0 <= seconds < math.inf:
            return
        with self._lock:
            agent = self._agents.setdefault(agent_id, _Agent())
            self._agents.move_to_end(agent_id)
            if len(self._agents) > MOST_AGENTS:
                self._agents.popitem(last=False)
            agent.seconds.append(seconds)
            if len(agent.seconds) >= ENOUGH_TURNS:
                ordered = sorted(agent.seconds)
                agent.usual = ordered[math.ceil(QUANTILE * len(ordered)) - 1]
