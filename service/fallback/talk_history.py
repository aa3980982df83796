"""What was said in a conversation, by whom, as a dialogue needs it.

The key decision: only so much is kept as an answer can depend on. The whole of a conversation is in its ledger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

KEPT_TURNS = 50
MAX_TURN_CHARACTERS = 4_000

Speaker = Literal["user", "agent"]


@dataclass(frozen=True)
class PastTurn:
    """What somebody said, as far as it was heard."""

    speaker: Speaker
    text: str


class TalkHistory:
    """The latest turns of one conversation; for one thread."""

    def __init__(self, turns: Iterable[PastTurn] = ()) -> None:
        self._turns: deque[PastTurn] = deque(maxlen=KEPT_TURNS)
        for turn in turns:
            self.note(turn.speaker, turn.text)

    @property
    def turns(self) -> tuple[PastTurn, ...]:
        """The turns, oldest first."""
        return tuple(self._turns)

    def note(self, speaker: Speaker, text: str) -> None:
        """Add a turn; nothing said is no turn."""
        if text.strip():
            self._turns.append(PastTurn(speaker, text[:MAX_TURN_CHARACTERS]))


def last_of_agent(turns: Sequence[PastTurn]) -> str | None:
    """What the agent said last; None if it has said nothing."""
    return next((turn.text for turn in reversed(turns) if turn.speaker == "agent"), None)
