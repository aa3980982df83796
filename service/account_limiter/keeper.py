"""The one thread of a process that talks to the ledger: it renews leases, asks for waiters, tells what is over.

The key decision: waiters do not poll. One report covers all of a process, however many wait, and only the first
question of a claim goes out from its caller's own thread, so that a free slot costs one round trip.

Redis gone: nothing is granted at first, since a restart takes a moment and the leases out there are good; after
`outage_seconds` the process lives on its static share until Redis is back, and then enters what it holds.
"""

from __future__ import annotations

import math
import random
import threading
import time

import redis
import structlog

from service.account_limiter.claims import Claim, ClaimBook, State
from service.account_limiter.ledger import Account, Answer, Ledger, Report, Terms

log = structlog.get_logger(__name__)

HEARTBEATS_PER_TTL = 3
POLL_SECONDS = (0.05, 0.1)
"""Between two reports while somebody waits; drawn anew each time, so that workers do not march in step."""
FIRST_QUESTIONS_AT_ONCE = 8
"""Calls to Redis from callers' threads; who comes on top goes with the keeper's next report."""
CLOSE_SECONDS = 2.0


class Keeper:
    """Keeps the claims of `book` in step with `ledger`. `start` runs its thread, `close` ends it."""

    def __init__(self, ledger: Ledger, book: ClaimBook, *, name: str, terms: Terms, outage_seconds: float) -> None:
        self._ledger = ledger
        self._book = book
        self._name = name
        self._terms = terms
        self._heartbeat_seconds = terms.ttl_seconds / HEARTBEATS_PER_TTL
        # A quarter of the TTL at most: else leases would run out before the outage is called one.
        self._outage_seconds = min(outage_seconds, terms.ttl_seconds / 4)
        self._direct = threading.BoundedSemaphore(FIRST_QUESTIONS_AT_ONCE)
        self._kick = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        self.account: Account | None = None
        self.is_degraded = False
        self._failing_since: float | None = None
        self._local_limit = terms.cap
        self._renew_at = -math.inf
        self._epoch = 0
        self._is_survivor = False
        self._refused = False
        self._learned = self._maximum_to_tell = 0

    @property
    def is_running(self) -> bool:
        """Between `start` and `close`."""
        return self._thread is not None and not self._closing

    def start(self) -> None:
        """Run the thread. Call it in the process that will hold the leases: threads do not survive a fork."""
        self._thread = threading.Thread(target=self._run, name=f"limiter-{self._name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell the ledger what is over and end. Leases still held are left to run out: their work may go on."""
        self._closing = True
        self._book.wake_all()
        self._kick.set()
        if self._thread is not None:
            self._thread.join(CLOSE_SECONDS)

    def enter(self, claim: Claim, *, may_wait: bool) -> None:
        """Ask for a slot; the claim is HELD, FULL or WAITING afterwards."""
        has_call = self._direct.acquire(blocking=False)
        try:
            if self._failing_since is None and (has_call or not may_wait) and self._ask(claim, may_wait=may_wait):
                return
        finally:
            if has_call:
                self._direct.release()
        self._book.queue(claim, is_bounded=self._failing_since is not None)
        if self.is_degraded:
            self._grant_locally()
        self._kick.set()

    def leave(self, claim: Claim, *, is_timeout: bool = False) -> None:
        """End a claim; the ledger hears of it with the next report, which goes out at once."""
        if self._book.leave(claim, is_timeout=is_timeout):
            if self.is_degraded:
                self._grant_locally()
            self._kick.set()

    def tell_maximum(self, maximum: int) -> None:
        """Tell the account's maximum, if that is news."""
        if maximum != self._learned:
            self._learned = self._maximum_to_tell = maximum
            self._kick.set()

    def tell_refusal(self) -> None:
        """Tell that ElevenLabs refused for concurrency."""
        self._refused = True
        if self.is_degraded:
            self._local_limit = max(1, self._local_limit // 2)
        self._kick.set()

    # --- Talking to the ledger

    def _ask(self, claim: Claim, *, may_wait: bool) -> bool:
        """The first question, from the caller's thread. False if the keeper has to take it from here."""
        sent_at = time.monotonic()
        try:
            answer = self._ledger.exchange(Report(waiting=[(claim.id, 0)], may_wait=may_wait))
        except redis.RedisError as exc:
            self._note_failure(exc, sent_at)
            return False
        self.account = answer.account
        verdict, place = answer.waiting[0]
        self._book.settle(claim, verdict, place, sent_at)
        if answer.account.epoch != self._epoch:
            self._renew_at = -math.inf
            self._kick.set()
        return claim.state is not State.WAITING or not may_wait

    def _run(self) -> None:
        while not self._closing:
            self._beat()
            self._kick.wait(self._pause())
            self._kick.clear()
        self._beat()

    def _beat(self) -> None:
        began = time.monotonic()
        self._note_lost(self._book.lapse(began), why="ran out")
        report = self._report(is_full=began >= self._renew_at or self._failing_since is not None)
        if not (report.member or report.released or report.waiting or report.refused or report.maximum):
            return
        try:
            answer = self._ledger.exchange(report)
        except Exception as exc:  # noqa: BLE001  # a keeper that ends would lose every lease of the process
            self._note_failure(exc, began)
            self._refused |= report.refused
            self._maximum_to_tell = self._maximum_to_tell or report.maximum
            if self.is_degraded:
                self._book.extend(began)
                self._grant_locally()
            return
        self._take(report, answer, began)

    def _report(self, *, is_full: bool) -> Report:
        refused, self._refused = self._refused, False
        maximum, self._maximum_to_tell = self._maximum_to_tell, 0
        return Report(
            released=self._book.released(),
            held=self._book.held() if is_full else (),
            waiting=self._book.waiting(),
            member=self._book.member if is_full else "",
            epoch=self._epoch,
            is_survivor=self._is_survivor,
            carries=self.is_degraded,
            refused=refused,
            maximum=maximum,
        )

    def _take(self, report: Report, answer: Answer, began: float) -> None:
        lost = self._book.apply(
            answer, released=report.released, held=report.held, waiting=report.waiting, sent_at=began
        )
        self._note_lost(lost, why="unknown to the ledger")
        self._note_success()
        account = self.account = answer.account
        if report.member:
            self._renew_at = began + self._heartbeat_seconds * random.uniform(0.9, 1.0)  # noqa: S311  # no secret
        if account.epoch != self._epoch:
            if report.member:
                self._is_survivor, self._epoch = self._epoch != 0, account.epoch
            self._renew_at = -math.inf  # say all again: the roll is called
        elif self._book.has_unregistered():
            self._renew_at = -math.inf
        if account.learned:
            self._learned = self._maximum_to_tell or account.learned
        else:
            self._maximum_to_tell = self._learned  # what we know was forgotten

    def _pause(self) -> float:
        """Seconds until the next report if nothing happens."""
        ttl = self._terms.ttl_seconds
        if self.is_degraded:
            return random.uniform(0.5, 1.0) * min(1.0, ttl / 6)  # noqa: S311  # no secret
        if self._failing_since is not None:
            return random.uniform(0.5, 1.0) * min(0.25, ttl / 12)  # noqa: S311  # no secret
        until_due = max(0.0, self._renew_at - time.monotonic())
        if self._book.tally().waiting_here:
            return min(until_due, random.uniform(*POLL_SECONDS))  # noqa: S311  # no secret
        return until_due

    # --- Whether Redis is there

    def _note_failure(self, exc: Exception, began: float) -> None:
        if not isinstance(exc, redis.RedisError):
            log.exception("account limiter failed", limiter=self._name, exc_info=exc)
        if self._failing_since is None:
            self._failing_since = began
        if not self.is_degraded and time.monotonic() - self._failing_since >= self._outage_seconds:
            self._local_limit = self.account.limit if self.account else self._terms.cap
            self.is_degraded = True
            log.warning("account limiter on its static share", limiter=self._name, error=type(exc).__name__)

    def _note_success(self) -> None:
        self._failing_since = None
        if self.is_degraded:
            self.is_degraded = False
            log.warning("account limiter shares again", limiter=self._name)

    def _note_lost(self, lost: list[Claim], *, why: str) -> None:
        for claim in lost:
            log.warning("account limiter lost a lease", limiter=self._name, fence=claim.fence, why=why)
            if claim.on_lost is not None:
                try:
                    claim.on_lost()
                except Exception:  # whatever a holder does, the other leases are kept
                    log.exception("a lost lease's holder failed", limiter=self._name)

    def _grant_locally(self) -> None:
        share = max(1, self._local_limit // self._terms.workers)
        reserved = max(0, min(math.ceil(share * self._terms.reserved_share - 1e-9), share - 1))
        self._book.grant_locally(share, reserved, time.monotonic())
