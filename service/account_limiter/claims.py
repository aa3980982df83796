"""What a process remembers of its leases and waiters: memory and rules, no I/O, no waiting.

The key decision: a holder trusts its own monotonic clock, not the news. A lease is good for one TTL from the moment at
which the report that renewed it was *sent*, while Redis counts from when it arrived. So a process that was stopped
knows that its lease has run out before anybody else can have got the slot.
"""

from __future__ import annotations

import enum
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.account_limiter.ledger import Answer


class Priority(enum.IntEnum):
    """Who is served first; within a class the first to come."""

    LIVE_TURN = 1
    """Somebody is in a conversation and waits for an answer."""
    GREETING = 2
    """Somebody is about to begin one."""
    OTHER = 3
    """Nobody listens yet."""


class State(enum.Enum):
    """Where a claim is in its life."""

    WAITING = "waiting"
    HELD = "held"
    LOST = "lost"
    FULL = "full"
    LEFT = "left"


class Claim:
    """One request for a slot, from its first word to its last. Written under the book's lock.

    `valid_until` and `granted_at` are in seconds of the monotonic clock. `changed` is set with each change of state or
    position.
    """

    __slots__ = (
        "changed",
        "fence",
        "granted_at",
        "id",
        "on_lost",
        "place",
        "position",
        "priority",
        "state",
        "valid_until",
    )

    def __init__(self, id: str, priority: Priority, on_lost: Callable[[], None] | None) -> None:
        self.id = id
        self.priority = priority
        self.on_lost = on_lost
        self.state = State.WAITING
        self.fence = 0
        self.place = 0
        self.position = 0
        self.granted_at = 0.0
        self.valid_until = math.inf
        self.changed = threading.Event()


@dataclass(frozen=True)
class Tally:
    """What happened in this process since its start, and how many slots it holds now."""

    held_here: int
    waiting_here: int
    grants: int
    full: int
    timeouts: int
    lost: int


class ClaimBook:
    """All claims of the process `member`, of which at most `max_waiting` wait while Redis cannot say how many do."""

    def __init__(self, *, member: str, ttl_seconds: float, max_waiting: int) -> None:
        self.member = member
        self._ttl_seconds = ttl_seconds
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._held: dict[str, Claim] = {}
        self._waiting: dict[str, Claim] = {}
        self._released: dict[str, tuple[int, float]] = {}  # id to (ms held, when it was given back)
        self._unsaid: list[Claim] = []  # lost as their holders asked; the keeper has not heard of it
        self._numbers = self._grants = self._full = self._timeouts = self._lost = 0

    def open(self, priority: Priority, on_lost: Callable[[], None] | None = None) -> Claim:
        """A new claim, which is nowhere yet."""
        with self._lock:
            self._numbers += 1
            return Claim(f"{priority.value}:{self.member}:{self._numbers}", priority, on_lost)

    def queue(self, claim: Claim, *, is_bounded: bool) -> None:
        """Let it wait. If `is_bounded` and as many as may wait already, it is FULL."""
        with self._lock:
            if claim.state is not State.WAITING:
                return
            if is_bounded and len(self._waiting) >= self._max_waiting:
                self._refuse(claim)
            else:
                self._waiting[claim.id] = claim

    def settle(self, claim: Claim, verdict: int, place: int, sent_at: float) -> None:
        """Take what the ledger says of a waiter (`Answer.waiting`) to a report sent at `sent_at`."""
        with self._lock:
            self._settle(claim, verdict, place, sent_at)

    def leave(self, claim: Claim, *, is_timeout: bool = False) -> bool:
        """End it, whatever it is; the ledger is told with the next report. False if it had ended already."""
        with self._lock:
            if claim.state is State.LEFT:
                return False
            now = time.monotonic()
            held_ms = round((now - claim.granted_at) * 1000) if claim.state is State.HELD else -1
            claim.state = State.LEFT
            self._held.pop(claim.id, None)
            self._waiting.pop(claim.id, None)
            self._released[claim.id] = held_ms, now
            self._timeouts += is_timeout
            return True

    def has_lost(self, claim: Claim) -> bool:
        """Tell whether its lease is gone, also before anybody noticed. What is lost stays lost."""
        with self._lock:
            if claim.state is State.HELD and time.monotonic() > claim.valid_until:
                self._lose(claim)
                self._unsaid.append(claim)
            return claim.state is State.LOST

    # --- What the keeper needs

    def released(self) -> list[tuple[str, int]]:
        """What was given back and is not told yet."""
        with self._lock:
            return [(id, held_ms) for id, (held_ms, _) in self._released.items()]

    def held(self) -> list[tuple[str, int]]:
        """Ids and fences of all leases."""
        with self._lock:
            return [(claim.id, claim.fence) for claim in self._held.values()]

    def waiting(self) -> list[tuple[str, int]]:
        """Ids and places of all waiters, in turn."""
        with self._lock:
            return [(claim.id, claim.place) for claim in self._in_turn()]

    def has_unregistered(self) -> bool:
        """Tell whether there are leases that the ledger does not know yet."""
        with self._lock:
            return any(claim.fence == 0 for claim in self._held.values())

    def apply(
        self,
        answer: Answer,
        *,
        released: Sequence[tuple[str, int]],
        held: Sequence[tuple[str, int]],
        waiting: Sequence[tuple[str, int]],
        sent_at: float,
    ) -> list[Claim]:
        """Take the answer to a report of these three. Returns the claims that are lost."""
        with self._lock:
            for id, _ in released:
                self._released.pop(id, None)
            lost = [claim for (id, _), fence in zip(held, answer.held, strict=True)
                    if (claim := self._held.get(id)) and not self._renewed(claim, fence, sent_at)]  # fmt: skip
            for (id, _), (verdict, place) in zip(waiting, answer.waiting, strict=True):
                if claim := self._waiting.get(id):
                    self._settle(claim, verdict, place, sent_at)
            return lost

    def lapse(self, now: float) -> list[Claim]:
        """Lose what has run out by our own clock, and forget what the ledger has forgotten by now. Returns the lost."""
        with self._lock:
            lost = [claim for claim in self._held.values() if now > claim.valid_until]
            for claim in lost:
                self._lose(claim)
            for id, (_, left_at) in list(self._released.items()):
                if now - left_at > self._ttl_seconds:
                    del self._released[id]
            unsaid, self._unsaid = self._unsaid, []
            return unsaid + lost

    def extend(self, now: float) -> None:
        """Without Redis a lease stays good as long as its keeper is alive."""
        with self._lock:
            for claim in self._held.values():
                claim.valid_until = max(claim.valid_until, now + self._ttl_seconds)

    def grant_locally(self, share: int, reserved: int, now: float) -> None:
        """Give what is free of the static share, of which `reserved` slots are for live turns only."""
        with self._lock:
            others = sum(claim.priority is not Priority.LIVE_TURN for claim in self._held.values())
            for claim in self._in_turn():
                is_other = claim.priority is not Priority.LIVE_TURN
                if len(self._held) >= share:
                    return
                if is_other and others >= share - reserved:
                    continue
                self._hold(claim, fence=0, valid_until=now + self._ttl_seconds)
                others += is_other

    def wake_all(self) -> None:
        """Let every waiter look again."""
        with self._lock:
            for claim in self._waiting.values():
                claim.changed.set()

    def tally(self) -> Tally:
        """One consistent snapshot."""
        with self._lock:
            return Tally(
                held_here=len(self._held),
                waiting_here=len(self._waiting),
                grants=self._grants,
                full=self._full,
                timeouts=self._timeouts,
                lost=self._lost,
            )

    # --- With the lock held

    def _in_turn(self) -> list[Claim]:
        return sorted(self._waiting.values(), key=lambda claim: (claim.priority, claim.place or math.inf))

    def _settle(self, claim: Claim, verdict: int, place: int, sent_at: float) -> None:
        if claim.state is not State.WAITING:
            return
        claim.place = place
        if verdict > 0:
            self._hold(claim, fence=verdict, valid_until=sent_at + self._ttl_seconds)
        elif verdict == 0:
            self._refuse(claim)
        elif claim.position != -verdict:
            claim.position = -verdict
            claim.changed.set()

    def _hold(self, claim: Claim, *, fence: int, valid_until: float) -> None:
        claim.state, claim.fence, claim.valid_until = State.HELD, fence, valid_until
        claim.granted_at = time.monotonic()
        self._waiting.pop(claim.id, None)
        self._held[claim.id] = claim
        self._grants += 1
        claim.changed.set()

    def _refuse(self, claim: Claim) -> None:
        claim.state = State.FULL
        self._waiting.pop(claim.id, None)
        self._full += 1
        claim.changed.set()

    def _renewed(self, claim: Claim, fence: int, sent_at: float) -> bool:
        if fence == 0:
            self._lose(claim)
            return False
        claim.fence = fence
        claim.valid_until = max(claim.valid_until, sent_at + self._ttl_seconds)
        return True

    def _lose(self, claim: Claim) -> None:
        claim.state = State.LOST
        self._held.pop(claim.id, None)
        self._released[claim.id] = -1, time.monotonic()
        self._lost += 1
        claim.changed.set()
