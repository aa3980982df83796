"""What is usual for a voice: its score, its pitch, its pace.

The key decision: a voice is compared with itself. Good synthetic voices score from 2.7 to 4.5 (a plain espeak 2.7 when
nothing is wrong with it), so one number for all would be too high for some and too low for others. The median, because
one broken answer must not make the next one look well.
"""

from __future__ import annotations

import statistics
from collections import OrderedDict, deque
from dataclasses import dataclass, field

KEPT_ANSWERS = 50
LEAST_ANSWERS = 5
"""So many make a baseline."""

KEPT_VOICES = 500
"""Of a node; whoever was silent for the longest time is forgotten."""


def _latest() -> deque[float]:
    return deque(maxlen=KEPT_ANSWERS)


@dataclass
class Baseline:
    """The latest answers of one voice."""

    scores: deque[float] = field(default_factory=_latest)
    pitches: deque[float] = field(default_factory=_latest)
    paces: deque[float] = field(default_factory=_latest)

    @property
    def score(self) -> float | None:
        """Its usual score; None: too few were heard."""
        return _median(self.scores)

    @property
    def pitch_hz(self) -> float | None:
        """Its usual pitch."""
        return _median(self.pitches)

    @property
    def seconds_per_character(self) -> float | None:
        """How fast it usually speaks."""
        return _median(self.paces)


class Baselines:
    """Those of the latest `KEPT_VOICES` voices; for one thread."""

    def __init__(self) -> None:
        self._voices: OrderedDict[tuple[str, str], Baseline] = OrderedDict()

    def __len__(self) -> int:
        return len(self._voices)

    def of(self, provider: str, voice: str) -> Baseline:
        """That of a voice, empty if nothing is known of it."""
        found = self._voices.setdefault((provider, voice), Baseline())
        self._voices.move_to_end((provider, voice))
        if len(self._voices) > KEPT_VOICES:
            self._voices.popitem(last=False)
        return found


def _median(values: deque[float]) -> float | None:
    return statistics.median(values) if len(values) >= LEAST_ANSWERS else None
