"""How many requests may run at once, as the plan says: slots, a short bounded queue, then a refusal.

The key decision: a slot is a lease that its holder gives back (`with slots.lease():`), so that a broken connection
cannot leak one. Speech, transcription and agents' calls have slots of their own, as at ElevenLabs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.plans import Plan


class SlotsTakenError(Exception):
    """Every slot is taken and the queue is full, or the time in it was up; `maximum` is the number of slots."""

    def __init__(self, maximum: int) -> None:
        super().__init__(f"all {maximum} slots are taken")
        self.maximum = maximum


class Slots:
    """A bounded number of leases with a bounded queue before it.

    `queue_seconds` is how long one waits at most; as many may wait as there are slots. 0 is no queue.
    """

    def __init__(self, maximum: int, *, queue_seconds: float) -> None:
        self.maximum = maximum
        self._queue_seconds = queue_seconds
        self._changed = threading.Condition()
        self._taken = 0
        self._waiting = 0
        self._peak = 0

    @property
    def taken(self) -> int:
        """How many leases are out now."""
        return self._taken

    @property
    def peak(self) -> int:
        """The most leases that were out at once since the start or the last reset."""
        return self._peak

    def reset_peak(self) -> None:
        """Begin to measure the peak anew."""
        with self._changed:
            self._peak = self._taken

    def acquire(self) -> int:
        """Take a slot, waiting in the queue if need be; give the number of slots taken now.

        Raises:
            SlotsTakenError: the queue is full or the wait was in vain. Nothing is held then.
        """
        deadline = time.monotonic() + self._queue_seconds
        with self._changed:
            if self._taken >= self.maximum:
                self._wait_for_a_slot(deadline)
            self._taken += 1
            self._peak = max(self._peak, self._taken)
            return self._taken

    def release(self) -> None:
        """Give one slot back."""
        with self._changed:
            self._taken -= 1
            self._changed.notify()

    @contextmanager
    def lease(self) -> Iterator[int]:
        """Hold a slot for the block; see `acquire`."""
        number = self.acquire()
        try:
            yield number
        finally:
            self.release()

    def _wait_for_a_slot(self, deadline: float) -> None:
        if self._waiting >= self.maximum:
            raise SlotsTakenError(self.maximum)
        self._waiting += 1
        try:
            while self._taken >= self.maximum:
                if not self._changed.wait(deadline - time.monotonic()) and self._taken >= self.maximum:
                    raise SlotsTakenError(self.maximum)
        finally:
            self._waiting -= 1


class Limits:
    """The slots of one account: `speech(group)`, `transcription` and `agents`."""

    def __init__(self, plan: Plan, *, queue_seconds: float) -> None:
        self.agents = Slots(plan.agents, queue_seconds=queue_seconds)
        self.transcription = Slots(plan.transcription, queue_seconds=queue_seconds)
        self._speech = {
            "standard": Slots(plan.standard, queue_seconds=queue_seconds),
            "turbo": Slots(plan.turbo, queue_seconds=queue_seconds),
        }

    def speech(self, group: str) -> Slots:
        """Give the slots of a model's concurrency group (`standard` or `turbo`)."""
        return self._speech[group]

    def by_name(self) -> dict[str, Slots]:
        """Give all slots under the names that the statistics show."""
        speech = {f"speech_{group}": slots for group, slots in self._speech.items()}
        return {**speech, "transcription": self.transcription, "agents": self.agents}
