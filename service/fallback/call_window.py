"""How the calls of the last half minute went, in a fixed amount of memory.

The key decision: it counts in thirty slots of time and not call by call, so a thousand calls a second cost no more than
one. What is asked for is exact to one slot.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOTS = 30


@dataclass
class Counts:
    """How many calls there were, and how many of them failed or were slow."""

    calls: int = 0
    failed: int = 0
    slow: int = 0


class CallWindow:
    """The calls of the last `seconds`. Not safe from several threads; `now` is any clock that only goes forward."""

    def __init__(self, seconds: float) -> None:
        self._slot_seconds = seconds / SLOTS
        self._slots: dict[int, Counts] = {}

    def note(self, now: float, *, failed: bool, slow: bool) -> None:
        """Count one call that ended now."""
        number = int(now / self._slot_seconds)
        self._drop_old(number)
        slot = self._slots.setdefault(number, Counts())
        slot.calls += 1
        slot.failed += failed
        slot.slow += slow

    def counts(self, now: float) -> Counts:
        """The sums of the window that ends now."""
        self._drop_old(int(now / self._slot_seconds))
        total = Counts()
        for slot in self._slots.values():
            total.calls += slot.calls
            total.failed += slot.failed
            total.slow += slot.slow
        return total

    def clear(self) -> None:
        """Forget every call."""
        self._slots.clear()

    def _drop_old(self, number: int) -> None:
        for old in [each for each in self._slots if each <= number - SLOTS]:
            del self._slots[old]
