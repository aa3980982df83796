"""What a connection pool knows and decides: who waits, what is idle, what must be opened or closed.

The key decision: this part has no lock, no thread, no clock and no I/O. Every method is a step that `ConnectionPool`
takes under its lock, `now` (monotonic seconds) is handed in, and what has to be done outside the lock is left lying
here as work that anybody may pick up. So every interleaving can be tried in one thread, and a caller that is killed
half-way leaves nothing that only it knew of.

Two rules make it fair: a connection is never idle while anybody waits, and what comes free (a connection, or the
error that opening one ended with) goes to whoever has waited longest.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import replace
from typing import Generic, Literal, TypeVar

from service.errors import PoolClosedError, PoolExhaustedError
from service.pool_parts import Pooled, PoolLimits, Waiter
from service.pool_stats import Counters, PoolStats

C = TypeVar("C")
Reason = Literal["discarded", "lost", "expired", "retired", "abandoned"]

JITTER = 0.05
"""The share by which ages are shortened at most: what was opened together is not replaced together."""

BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.25, 30.0


class PoolState(Generic[C]):
    """The state of a pool. Whoever calls a method holds the pool's lock."""

    def __init__(self, limits: PoolLimits, *, name: str) -> None:
        self.limits = limits
        self.name = name
        self.is_open = False
        self.is_closed = False
        self.generation = 0
        self.queue: deque[Waiter[C]] = deque()
        self.to_close: deque[Pooled[C]] = deque()
        self.counters = Counters()
        self._idle: deque[Pooled[C]] = deque()  # the one that came last is lent first, so that a surplus ages
        self._lent = self._opening = self._closing = self._pending = 0
        self._tickets = 0
        self._failures_in_a_row = 0
        self._refill_from = 0.0

    @property
    def size(self) -> int:
        """The places that are taken."""
        return self._lent + len(self._idle) + self._opening + self._closing

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt to open a connection failed."""
        return self._failures_in_a_row > 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being opened or closed, or is about to be closed."""
        return not self._opening and not self._closing

    # --- Callers

    def arrive(self, now: float, *, may_wait: bool) -> Waiter[C]:
        """Take in a caller: it is handed an idle connection, or queues, or (if it may not wait) has nothing.

        Raises:
            PoolClosedError: the pool is not open.
            PoolExhaustedError: the queue is full.
        """
        self.counters.requests += 1
        if not self.is_open:
            self.counters.refused += 1
            raise self.closed_error()
        waiter: Waiter[C] = Waiter(self._tickets, now)
        if not self._hand_idle(waiter, now) and may_wait:
            self._refuse_if_full()
            waiter.lie_down()
            self.queue.append(waiter)
        self._tickets += 1
        self._pending += 1
        return waiter

    def _refuse_if_full(self) -> None:
        # A place that is not lent will serve somebody who waits, once something is opened or closed there.
        coming = max(0, self.limits.max_size - self._lent)
        if len(self.queue) >= coming + self.limits.max_waiting:
            self.counters.exhausted += 1
            raise PoolExhaustedError(
                f"pool {self.name}: as many callers wait as may, max_waiting={self.limits.max_waiting}"
                f" ({self.numbers()})"
            )

    def served(self, waiter: Waiter[C], now: float) -> Pooled[C]:
        """The caller has its connection, and it is good."""
        assert waiter.pooled is not None  # noqa: S101 (whoever calls has seen it)
        self._end(waiter, now)
        self.counters.served += 1
        self.counters.reused += waiter.pooled.uses > 0
        waiter.pooled.uses += 1
        return waiter.pooled

    def failed_check(self, waiter: Waiter[C], now: float) -> None:
        """What the caller was handed is broken: it gets another, or takes its old place in the queue again."""
        assert waiter.pooled is not None  # noqa: S101 (as above)
        self._lent -= 1
        self._retire(waiter.pooled, "lost")
        waiter.pooled, waiter.is_checking = None, False
        if not self.is_open:
            waiter.error = self.closed_error()
        elif not self._hand_idle(waiter, now):
            later = (place for place, other in enumerate(self.queue) if other.ticket > waiter.ticket)
            waiter.lie_down()
            self.queue.insert(next(later, len(self.queue)), waiter)

    def timed_out(self, waiter: Waiter[C], now: float) -> None:
        """The caller's time is up."""
        self.counters.timeouts += 1
        self._leave(waiter, now)

    def got_error(self, waiter: Waiter[C], now: float) -> Exception:
        """The error that the caller is told."""
        assert waiter.error is not None  # noqa: S101 (as above)
        self._end(waiter, now)
        if isinstance(waiter.error, PoolClosedError):
            self.counters.refused += 1
        else:
            self.counters.unopened += 1
        return waiter.error

    def cancelled(self, waiter: Waiter[C], now: float) -> None:
        """The caller was killed while it waited, or while it checked what it had been handed."""
        if not waiter.has_ended:
            self.counters.cancelled += 1
            self._leave(waiter, now)

    def _leave(self, waiter: Waiter[C], now: float) -> None:
        self._end(waiter, now)
        pooled, waiter.pooled = waiter.pooled, None
        if pooled is None:
            return
        self._lent -= 1
        if waiter.is_checking:  # what the check has done to it is not known
            self._retire(pooled, "lost")
        else:  # the next one gets it
            self._put_back(pooled, now)

    def _end(self, waiter: Waiter[C], now: float) -> None:
        waiter.has_ended = True
        if waiter.has_nothing() and waiter in self.queue:
            self.queue.remove(waiter)
        self._pending -= 1
        self.counters.note_wait(now - waiter.asked_at, now)

    # --- Connections that come back

    def returned(self, pooled: Pooled[C], now: float, used_seconds: float) -> None:
        """A use ended well."""
        self._lent -= 1
        self.counters.returned += 1
        self.counters.note_use(used_seconds, now)
        pooled.is_unchecked = True
        self._put_back(pooled, now)

    def discarded(self, pooled: Pooled[C], now: float, used_seconds: float) -> None:
        """A use ended badly."""
        self._lent -= 1
        self.counters.note_use(used_seconds, now)
        self._retire(pooled, "discarded")

    def abandoned(self, pooled: Pooled[C]) -> None:
        """The borrower forgot it."""
        self._lent -= 1
        self._retire(pooled, "abandoned")

    def _put_back(self, pooled: Pooled[C], now: float) -> None:
        # Its own place is not counted in `size` just now, so a pool that was made smaller is full at max_size.
        if not self.is_open or pooled.generation != self.generation or self.size >= self.limits.max_size:
            self._retire(pooled, "retired")
        elif now >= pooled.retires_at:
            self._retire(pooled, "expired")
        elif self.queue:
            self._hand(pooled, self.queue.popleft())
        else:
            pooled.rests_since = now
            pooled.is_unchecked = True
            self._idle.append(pooled)

    def _hand(self, pooled: Pooled[C], waiter: Waiter[C]) -> None:
        self._lent += 1
        waiter.pooled = pooled
        waiter.wake()

    def _hand_idle(self, waiter: Waiter[C], now: float) -> bool:
        while self._idle:
            pooled = self._idle.pop()
            if not pooled.is_aged(now):
                self._hand(pooled, waiter)
                return True
            self._retire(pooled, "expired")
        return False

    def _retire(self, pooled: Pooled[C], reason: Reason) -> None:
        self._closing += 1
        self.to_close.append(pooled)
        setattr(self.counters, reason, getattr(self.counters, reason) + 1)

    def has_closed(self) -> None:
        """One that was taken from `to_close` is closed: its place is free."""
        self._closing -= 1

    # --- Opening

    def begin_opening(self, now: float) -> bool:
        """Take a place for a connection that is due; whoever gets True opens one."""
        if not (self._is_awaited() or self._is_refill_due(now)):
            return False
        self._opening += 1
        return True

    def _has_room(self) -> bool:
        return self.is_open and self.size < self.limits.max_size

    def _is_awaited(self) -> bool:
        return len(self.queue) > self._opening and self._has_room()

    def _lacks_idle(self) -> bool:
        return self._has_room() and len(self._idle) + self._opening - len(self.queue) < self.limits.min_idle

    def _is_refill_due(self, now: float) -> bool:
        if not self._lacks_idle():
            return False
        # After a failure one goes ahead and tries whether the others may follow.
        return not self._failures_in_a_row or (now >= self._refill_from and not self._opening)

    def is_work_due(self, now: float) -> bool:
        """Whether there is something to open or to close."""
        return bool(self.to_close) or self._is_awaited() or self._is_refill_due(now)

    def next_refill_in(self, now: float) -> float | None:
        """Seconds until a refill that waits after a failure is tried again; None if there is none."""
        waits = self._failures_in_a_row and not self._opening and self._lacks_idle()
        return max(0.0, self._refill_from - now) if waits else None

    def has_opened(self, connection: C, generation: int, now: float) -> None:
        """One that was being opened is open."""
        self._opening -= 1
        self.counters.opened += 1
        self.forget_failures()
        part = 1 - JITTER * random.random()  # noqa: S311 (no secret)
        retires_at, idle_seconds = now + part * self.limits.max_lifetime, part * self.limits.max_idle
        self._put_back(Pooled(connection, generation=generation, retires_at=retires_at, idle_seconds=idle_seconds), now)

    def has_failed(self, error: Exception | None, now: float) -> None:
        """One that was being opened could not be. The error goes to whoever has waited longest.

        Unless those still being opened are enough for all who wait. Without `error` (the attempt itself was ended)
        nobody is told, and another attempt is due.
        """
        self._opening -= 1
        self.counters.failed += 1
        if now >= self._refill_from:  # attempts that ran side by side have failed once
            ceiling = min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** min(self._failures_in_a_row, 16))
            self._refill_from = now + ceiling * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
            self._failures_in_a_row += 1
        if error is not None and len(self.queue) > self._opening:
            self._tell(self.queue.popleft(), error)

    def _tell(self, waiter: Waiter[C], error: Exception) -> None:
        waiter.error = error
        waiter.wake()

    # --- The pool as a whole

    def retire_aged(self, now: float) -> None:
        """Have idle connections closed that are too old, or idle for too long."""
        for pooled in [each for each in self._idle if each.is_aged(now)]:
            self._idle.remove(pooled)
            self._retire(pooled, "expired")

    def drain(self) -> None:
        """Let nothing that is open, or being opened, be lent again."""
        self.generation += 1
        self._retire_idle(keep=0)
        self.forget_failures()  # they may have been those of what is replaced, a key for one

    def forget_failures(self) -> None:
        """Do not wait any longer because opening has failed."""
        self._failures_in_a_row = 0
        self._refill_from = 0.0

    def resize(self, *, min_idle: int, max_size: int) -> None:
        """Change the bounds; what is lent and too much is closed when it comes back."""
        self.limits = replace(self.limits, min_idle=min_idle, max_size=max_size)
        self._retire_idle(keep=max(0, max_size - (self.size - len(self._idle) - self._closing)))

    def close(self) -> None:
        """Lend nothing any more, and tell everybody who waits."""
        self.is_open, self.is_closed = False, True
        self._retire_idle(keep=0)
        while self.queue:
            self._tell(self.queue.popleft(), self.closed_error())

    def _retire_idle(self, keep: int) -> None:
        while len(self._idle) > keep:
            self._retire(self._idle.popleft(), "retired")

    def closed_error(self) -> PoolClosedError:
        """What a caller of a pool is told that is not open."""
        return PoolClosedError(f"pool {self.name}: {'closed' if self.is_closed else 'not started'} ({self.numbers()})")

    def numbers(self) -> str:
        """What a message tells about the pool."""
        return (
            f"{self._lent} lent, {len(self._idle)} idle, {self._opening} opening, {len(self.queue)} waiting,"
            f" max_size={self.limits.max_size}"
        )

    def stats(self, now: float) -> PoolStats:
        """All numbers of this moment."""
        return PoolStats(
            name=self.name,
            min_idle=self.limits.min_idle,
            max_size=self.limits.max_size,
            max_waiting=self.limits.max_waiting,
            size=self.size,
            lent=self._lent,
            idle=len(self._idle),
            opening=self._opening,
            closing=self._closing,
            waiting=len(self.queue),
            pending=self._pending,
            **self.counters.as_fields(now),
        )
