"""What callers see of the limiter: ask for a slot, wait in turn, hold a lease, give it back.

The key decision: the guarantee is about leases that are not lost. At every moment at most `cap` of them exist among
all processes that reach Redis; a holder that wakes up after its lease has run out finds `is_lost` true at once,
without asking anybody, and must end what it does upstream.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import redis

from service.account_limiter.claims import Claim, ClaimBook, Priority, State
from service.account_limiter.keeper import Keeper
from service.account_limiter.ledger import Ledger, Terms
from service.account_limiter.limiter_stats import LimiterStats
from service.errors import LimiterClosedError, LimiterFullError, LimiterTimeoutError

PATIENCE_SECONDS = 2.0
"""How long a waiter keeps its place without a sign of life; a living one gives some ten signs a second."""
SETTLING_SECONDS = 1.0
TOLD_EVERY_SECONDS = 1.0
RETRY_AFTER_SECONDS = 2.0


@dataclass(frozen=True)
class QueuePosition:
    """Where a waiter stands: 1 is next. `expected_seconds` is None as long as there is nothing to judge by."""

    position: int
    expected_seconds: float | None


class Lease:
    """A slot of the account. Release it when the work upstream is over, not before; as a context manager it does."""

    def __init__(self, claim: Claim, book: ClaimBook, keeper: Keeper) -> None:
        self._claim = claim
        self._book = book
        self._keeper = keeper

    @property
    def fence(self) -> int:
        """Rises with each grant of the account. 0 while the lease is of a static share that Redis has not heard of."""
        return self._claim.fence

    @property
    def place(self) -> int:
        """Its place in the queue: within a class, fences rise as places do, but for waiters that were silent."""
        return self._claim.place

    @property
    def is_lost(self) -> bool:
        """Someone else may have the slot: this process was stopped for longer than the TTL. End the work."""
        return self._book.has_lost(self._claim)

    @property
    def valid_until(self) -> float:
        """The time of the monotonic clock at which it runs out unless it is renewed before."""
        return self._claim.valid_until

    def release(self) -> None:
        """Give the slot back. A second time it does nothing; it never waits and never fails."""
        self._keeper.leave(self._claim)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


class AccountLimiter:
    """At most `cap` leases called `name` at a time, among all processes that share `store`.

    `ttl_seconds`: a lease whose process died is free again after so long. `reserved_share`: of the cap, for live turns
    only (0 to 1; rounded up, never all of it). `workers`: processes that share the account, on all nodes.
    `max_waiting`: waiters of all of them together. `follows_plan`: `cap` is only what to begin with until the number of
    the plan is learned; else it is never exceeded. `quiet_seconds`: without a refusal for so long, a halved cap grows
    by one. `outage_seconds`: Redis may be gone for so long before a process lives on its static share,
    max(1, cap // workers).

    `store` needs short timeouts (250 ms and one retry): they bound what a call costs when Redis hangs.
    """

    def __init__(
        self,
        store: redis.Redis,
        *,
        name: str,
        cap: int,
        ttl_seconds: float = 15.0,
        reserved_share: float = 0.2,
        workers: int = 1,
        max_waiting: int = 100,
        follows_plan: bool = False,
        quiet_seconds: float = 10.0,
        outage_seconds: float = 2.0,
    ) -> None:
        if cap < 1 or workers < 1 or max_waiting < 0 or not 0 <= reserved_share <= 1 or ttl_seconds < 1:
            raise ValueError(
                f"limiter {name}: cap {cap}, workers {workers} (from 1), max_waiting {max_waiting} (from 0), "
                f"reserved_share {reserved_share:g} (0 to 1), ttl_seconds {ttl_seconds:g} (from 1)"
            )
        self._name = name
        self._terms = terms = Terms(
            cap=cap,
            follows_plan=follows_plan,
            reserved_share=reserved_share,
            workers=workers,
            max_waiting=max_waiting,
            ttl_seconds=ttl_seconds,
            patience_seconds=min(PATIENCE_SECONDS, ttl_seconds),
            quiet_seconds=quiet_seconds,
            settling_seconds=SETTLING_SECONDS,
        )
        self._book = ClaimBook(member=secrets.token_hex(8), ttl_seconds=ttl_seconds, max_waiting=max_waiting)
        ledger = Ledger(store, name=name, terms=terms)
        self._keeper = Keeper(ledger, self._book, name=name, terms=terms, outage_seconds=outage_seconds)
        self._refusals = 0
        self._account_current: int | None = None

    def start(self) -> None:
        """Begin to keep leases; call it in the worker, after the fork."""
        self._book.member = secrets.token_hex(8)  # a limiter that was built before a fork is another one after it
        self._keeper.start()

    def close(self) -> None:
        """Tell Redis what was released; whoever waits gets `LimiterClosedError`. Leases still held run out."""
        self._keeper.close()

    def acquire(
        self,
        priority: Priority,
        *,
        timeout: float,
        on_wait: Callable[[QueuePosition], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> Lease:
        """Wait for a slot at most `timeout` seconds; 0 takes one only if it is free now.

        `on_wait` is called in this thread when the caller has to wait and whenever its position has changed, at most
        once a second. `on_lost` is called in the limiter's thread, which it may not hold up.

        Raises:
            LimiterTimeoutError: none came free in time.
            LimiterFullError: too many wait already.
            LimiterClosedError: the limiter is not running.
        """
        deadline = time.monotonic() + timeout
        self._check_running()
        claim = self._book.open(priority, on_lost)
        try:
            self._keeper.enter(claim, may_wait=timeout > 0)
            self._wait(claim, deadline, timeout, on_wait)
        except BaseException as exc:  # also a greenlet that is killed: nobody stays in the queue who is gone
            self._keeper.leave(claim, is_timeout=isinstance(exc, LimiterTimeoutError))
            raise
        return Lease(claim, self._book, self._keeper)

    def learn(self, *, current: int | None, maximum: int | None) -> None:
        """Take what a response's headers or the subscription say of the account; costs no call."""
        if current is not None:
            self._account_current = current
        if maximum is not None and maximum > 0:
            self._keeper.tell_maximum(maximum)

    def note_refusal(self) -> None:
        """ElevenLabs said `too_many_concurrent_requests`: the cap is halved for all. Call it before the release."""
        self._refusals += 1
        self._keeper.tell_refusal()

    def stats(self) -> LimiterStats:
        """What is known without asking."""
        account, tally = self._keeper.account, self._book.tally()
        waiting = account.waiting if account else (0, 0, 0)
        return LimiterStats(
            name=self._name,
            cap=account.limit if account else self._terms.cap,
            plan_cap=account.plan if account else self._terms.cap,
            reserved=account.reserved if account else 0,
            held=sum(account.held) if account else 0,
            waiting=dict(zip(Priority, waiting, strict=True)),
            account_current=self._account_current,
            held_here=tally.held_here,
            grants=tally.grants,
            refusals=self._refusals,
            full=tally.full,
            timeouts=tally.timeouts,
            lost=tally.lost,
            degraded=self._keeper.is_degraded,
        )

    # --- Waiting

    def _wait(
        self, claim: Claim, deadline: float, timeout: float, on_wait: Callable[[QueuePosition], None] | None
    ) -> None:
        told, tell_at = 0, -math.inf
        while True:
            claim.changed.clear()
            if claim.state in {State.HELD, State.LOST}:  # lost: granted, and then this process was stopped
                return
            if claim.state is State.FULL:
                raise LimiterFullError(
                    f"limiter {self._name}: {self._terms.max_waiting} wait already", retry_after=RETRY_AFTER_SECONDS
                )
            self._check_running()
            now = time.monotonic()
            if now >= deadline:
                raise LimiterTimeoutError(self._timeout_message(claim, timeout), retry_after=RETRY_AFTER_SECONDS)
            if on_wait is not None and claim.position not in (0, told) and now >= tell_at:
                told, tell_at = claim.position, now + TOLD_EVERY_SECONDS
                on_wait(self._position(told))
            claim.changed.wait(min(deadline - now, TOLD_EVERY_SECONDS))

    def _position(self, position: int) -> QueuePosition:
        account = self._keeper.account
        if account is None or account.mean_seconds is None:
            return QueuePosition(position, None)
        return QueuePosition(position, account.grace_seconds + position * account.mean_seconds / account.limit)

    def _timeout_message(self, claim: Claim, timeout: float) -> str:
        account = self._keeper.account
        numbers = f"{sum(account.held)} of {account.limit} held" if account else "Redis was never reached"
        where = f", position {claim.position}" if claim.position else ""
        return f"limiter {self._name}: no slot within {timeout:g} s ({numbers}{where})"

    def _check_running(self) -> None:
        if not self._keeper.is_running:
            raise LimiterClosedError(f"limiter {self._name} is not running")
