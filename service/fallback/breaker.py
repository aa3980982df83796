"""The circuit breaker of one provider and one capability: whether it is to be asked, judged by what happened to others.

The key decision: a pure state machine. It waits for nothing, knows neither Redis nor metrics, and its times are those
of a clock that it is given; who probes, and what other workers found, is told to it (`shared_breaker.py`). While it is
open only probes count: a call that was begun before, or that is made because nobody else is left, decides nothing.

Coming back is made slow on purpose, because people hear it: three good probes in a row, a dwell since it opened, a ramp
that a relapse ends, and no second return within the time in which flapping is forgotten. So in each ten minutes there
are three changes at most (away, back, away), whatever the provider does.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from service.fallback.breaker_terms import (
    RAMP_SHARES,
    RELAPSE_FAILURES,
    BreakerStatus,
    BreakerTerms,
    Opening,
    is_within,
    open_seconds,
)
from service.fallback.call_window import CallWindow, Counts
from service.fallback.calm import Calm
from service.metrics_fallback import BreakerState, ProbeResult


class Breaker:
    """Decides whether its provider is asked; safe from several threads, and never waits.

    `on_change` hears of each change of the state, before and after, outside of the lock; a change that time alone
    brings is noticed with the next call of any method. `make_id` names an opening among all workers.
    """

    def __init__(
        self,
        terms: BreakerTerms | None = None,
        *,
        clock: Callable[[], float] | None = None,
        make_id: Callable[[], str] | None = None,
        on_change: Callable[[BreakerState, BreakerState], None] | None = None,
    ) -> None:
        self.terms = terms or BreakerTerms()
        self._clock = clock or time.monotonic
        self._make_id = make_id or _random_id
        self._on_change = on_change or _nothing
        self._lock = threading.Lock()
        self._window = CallWindow(self.terms.window_seconds)
        self._opening: Opening | None = None
        self._left_id: str | None = None
        self._ramp_at: float | None = None
        self._returned_at: float | None = None
        self._level = 0
        self._rested_at = 0.0  # since when the level falls
        self._row = 0
        self._row_began = 0.0
        self._good_row = 0
        self._calm = Calm(self.terms)
        self._told = BreakerState.CLOSED

    # --- What calls tell, and ask

    def succeeded(self, *, seconds: float = 0.0) -> None:
        """A call went well and took `seconds`."""
        self._note(failed=False, slow=seconds > self.terms.slow_seconds)

    def failed(self) -> None:
        """A call failed, and the provider is to blame."""
        self._note(failed=True, slow=False)

    def admits(self, key: str) -> bool:
        """Whether the conversation (or request) `key` goes to the provider; the same answer in every worker."""
        with self._moment() as now:
            return is_within(key, self._share(now))

    def may_return(self, key: str) -> bool:
        """Whether a conversation that has left the provider may go back to it.

        If the breaker never opened, others must have shown since that it is well, or it is waited for as long as if it
        had opened: who has left makes no calls, and would come back on the strength of those before.
        """
        with self._moment() as now:
            if not is_within(key, self._share(now)):
                return False
            is_shown = self._good_row >= self.terms.minimum_calls and self._knows_better(now)
            return is_shown or self._ramp_at is not None or self._calm.is_over(now)

    @property
    def state(self) -> BreakerState:
        """What it thinks now."""
        with self._moment() as now:
            return self._state(now)

    @property
    def status(self) -> BreakerStatus:
        """What it thinks now, and why."""
        with self._moment() as now:
            counts, opening = self._window.counts(now), self._opening
            return BreakerStatus(
                state=self._state(now),
                calls=counts.calls,
                failure_rate=counts.failed / max(1, counts.calls),
                slow_rate=counts.slow / max(1, counts.calls),
                good_probes=0 if opening is None else opening.good,
                level=self._level,
                share=self._share(now) / 100,
                open_for_seconds=None if opening is None else now - opening.opened_at,
                probe_in_seconds=None if opening is None else max(0.0, opening.probe_at - now),
            )

    # --- What probes tell, and other workers

    @property
    def opening(self) -> Opening | None:
        """The opening that lasts; None while the provider is asked."""
        with self._moment():
            return self._opening

    @property
    def left_id(self) -> str | None:
        """The id of the opening that ended last."""
        with self._moment():
            return self._left_id

    @property
    def due(self) -> Opening | None:
        """The opening, if it is time to probe."""
        with self._moment() as now:
            opening = self._opening
            return opening if opening is not None and now >= opening.probe_at else None

    def now(self) -> float:
        """The breaker's clock, for whoever tells it about times."""
        return self._clock()

    def probed(self, opening_id: str, result: ProbeResult) -> float:
        """A probe has ended that was made for that opening; returns in how many seconds the next one is due."""
        terms = self.terms
        with self._moment() as now:
            opening = self._opening
            if opening is None or opening.id != opening_id:
                return terms.probe_seconds
            seconds, good, level = terms.probe_seconds, opening.good, opening.level
            if result is ProbeResult.GOOD:
                good += 1
            elif result is ProbeResult.BAD:
                seconds, good, level = open_seconds(terms, level), 0, level + 1
            self._opening = replace(opening, good=good, level=level, probe_at=now + seconds)
            self._level = max(self._level, level)
            return seconds

    def agree(self, shared: Opening) -> None:
        """Take the opening that the workers have in common for our own; only while ours is open."""
        with self._moment():
            if self._opening is not None:
                self._opening = shared
                self._level = max(self._level, shared.level)

    def take_advice(self, shared: Opening) -> bool:
        """Another worker has opened: do so too, unless we know better. Returns whether we did.

        We know better if enough of our own calls went well just now: a worker that cannot reach the provider alone must
        not take all others along.
        """
        with self._moment() as now:
            if self._opening is not None or shared.id == self._left_id or self._knows_better(now):
                return False
            self._open(shared)
            return True

    def join_ramp(self, ramp_at: float) -> None:
        """The others have given it a growing share since `ramp_at`: do as they do, if we know nothing ourselves."""
        with self._moment() as now:
            is_new = self._opening is None and self._ramp_at is None and self._left_id is None
            if is_new and not self._window.counts(now).calls and now < ramp_at + self.terms.ramp_seconds:
                self._begin_ramp(ramp_at)

    # --- The machine; all of it with the lock held

    @contextmanager
    def _moment(self) -> Iterator[float]:
        """The lock, with everything brought up to now; tells of a change when the lock is free again."""
        with self._lock:
            now = self._clock()
            self._advance(now)
            yield now
            self._advance(now)
            before, self._told = self._told, self._state(now)
            after = self._told
        if after is not before:
            self._on_change(before, after)

    def _note(self, *, failed: bool, slow: bool) -> None:
        with self._moment() as now:
            if self._opening is not None:
                return
            self._window.note(now, failed=failed, slow=slow)
            if failed:
                self._note_failure(now)
            else:
                self._row = 0
                self._good_row += 1
            if self._is_too_much(now):
                opening = Opening(self._make_id(), now, now + open_seconds(self.terms, self._level), self._level + 1)
                self._open(opening)

    def _note_failure(self, now: float) -> None:
        is_apart = self._calm.note_failure(now)
        if self._row == 0 or is_apart:
            self._row, self._row_began = 0, now
        self._row += 1
        self._good_row = 0

    def _is_too_much(self, now: float) -> bool:
        terms, row = self.terms, self._row
        if row >= terms.failures_in_a_row or (row >= RELAPSE_FAILURES and self._ramp_at is not None):
            return True
        if row > 1 and now - self._row_began >= terms.death_seconds:
            return True
        counts = self._window.counts(now)
        is_enough = counts.calls >= terms.minimum_calls
        return is_enough and (_rate(counts, counts.failed) >= terms.failure_rate or self._is_slow(counts))

    def _is_slow(self, counts: Counts) -> bool:
        return _rate(counts, counts.slow) >= self.terms.slow_rate

    def _open(self, opening: Opening) -> None:
        self._opening = opening
        self._ramp_at = None
        self._level = max(self._level, opening.level)
        self._window.clear()
        self._row = 0

    def _advance(self, now: float) -> None:
        """Do what time has brought since the last call."""
        terms, opening = self.terms, self._opening
        if opening is not None and self._may_come_back(now, opening):
            self._left_id, self._opening = opening.id, None
            self._begin_ramp(now)
        if self._ramp_at is not None and now >= self._ramp_at + terms.ramp_seconds:
            self._rested_at, self._ramp_at = self._ramp_at + terms.ramp_seconds, None
        if self._opening is None and self._ramp_at is None and self._level:
            self._forget_a_level(now)

    def _begin_ramp(self, at: float) -> None:
        self._ramp_at = self._returned_at = at
        self._calm.note_return(at)

    def _forget_a_level(self, now: float) -> None:
        rest = max(self.terms.flap_seconds, self.terms.ramp_seconds)
        if not rest:
            self._level = 0
        while self._level and now >= self._rested_at + rest:
            self._level -= 1
            self._rested_at += rest

    def _may_come_back(self, now: float, opening: Opening) -> bool:
        terms = self.terms
        if opening.good < terms.good_probes or now < opening.opened_at + terms.dwell_seconds:
            return False
        return self._returned_at is None or now >= self._returned_at + terms.flap_seconds

    def _state(self, now: float) -> BreakerState:
        if self._opening is not None:
            is_probed = self._opening.good > 0 or now >= self._opening.probe_at
            return BreakerState.HALF_OPEN if is_probed else BreakerState.OPEN
        return BreakerState.CLOSED if self._ramp_at is None else BreakerState.RAMP

    def _share(self, now: float) -> int:
        """Percent of the conversations."""
        if self._opening is not None:
            return 0
        if self._ramp_at is None:
            return 100
        third = int((now - self._ramp_at) / self.terms.ramp_seconds * len(RAMP_SHARES))
        return RAMP_SHARES[max(0, min(third, len(RAMP_SHARES) - 1))]

    def _knows_better(self, now: float) -> bool:
        counts = self._window.counts(now)
        return counts.calls >= self.terms.minimum_calls and _rate(counts, counts.failed) < self.terms.failure_rate / 2


def _rate(counts: Counts, some: int) -> float:
    return some / max(1, counts.calls)


def _random_id() -> str:
    return secrets.token_hex(8)


def _nothing(_before: BreakerState, _after: BreakerState) -> None:
    pass
