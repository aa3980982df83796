"""The breaker against a reference that keeps every call in a list and works everything out anew."""

from __future__ import annotations

import zlib

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.fallback.breaker import Breaker
from service.fallback.breaker_terms import BreakerTerms
from service.metrics_fallback import BreakerState, ProbeResult
from tests.unit.fallback_decisions.hand_clock import HandClock

TERMS = BreakerTerms()


def key_at(percent: int) -> str:
    return next(f"conv_{number}" for number in range(10_000) if zlib.crc32(f"conv_{number}".encode()) % 100 == percent)


KEYS = {percent: key_at(percent) for percent in (0, 9, 10, 49, 50, 99)}


class Reference:
    """The rules as one would say them. Whole seconds only, so that a window of thirty slots is exact."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, str]] = []  # since it opened last: when, and "good", "slow" or "failed"
        self.opened_at: float | None = None
        self.probe_at = 0.0
        self.good = 0
        self.level = 0
        self.ramp_at: float | None = None
        self.returns: list[float] = []
        self.rested_at = 0.0

    def call(self, now: float, how: str) -> None:
        if self.opened_at is not None:
            return
        self.calls.append((now, how))
        if self.must_open(now):
            self.opened_at, self.probe_at = now, now + min(15 * 2**self.level, 600)
            self.level, self.good, self.ramp_at, self.calls = self.level + 1, 0, None, []

    def must_open(self, now: float) -> bool:
        row = self.failures_in_a_row()
        if len(row) >= 5 or (len(row) >= 2 and (now - row[0] >= 2 or self.ramp_at is not None)):
            return True
        lately = [how for at, how in self.calls if now - at < 30]
        return len(lately) >= 5 and (
            lately.count("failed") / len(lately) >= 0.5 or lately.count("slow") / len(lately) >= 0.8
        )

    def failures_in_a_row(self) -> list[float]:
        row: list[float] = []
        for at, how in reversed(self.calls):
            if how != "failed" or (row and row[0] - at > 30):
                break
            row.insert(0, at)
        return row

    def probe(self, now: float, *, good: bool) -> None:
        if good:
            self.good, self.probe_at = self.good + 1, now + 10
        else:
            self.good, self.probe_at = 0, now + min(15 * 2**self.level, 600)
            self.level += 1

    def pass_time(self, now: float) -> None:
        may = not self.returns or now >= self.returns[-1] + 600
        if self.opened_at is not None and self.good >= 3 and now >= self.opened_at + 120 and may:
            self.opened_at, self.ramp_at = None, now
            self.returns.append(now)
        if self.ramp_at is not None and now >= self.ramp_at + 60:
            self.rested_at, self.ramp_at = self.ramp_at + 60, None
        while self.opened_at is None and self.ramp_at is None and self.level and now >= self.rested_at + 600:
            self.level, self.rested_at = self.level - 1, self.rested_at + 600

    @property
    def share(self) -> int:
        return 0 if self.opened_at is not None else 100

    def share_at(self, now: float) -> int:
        if self.opened_at is not None or self.ramp_at is None:
            return self.share
        return 10 if now < self.ramp_at + 20 else 50 if now < self.ramp_at + 40 else 100


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock(0.0)
        self.breaker = Breaker(TERMS, clock=self.clock)
        self.reference = Reference()
        self.turned: list[float] = []
        self.was_away = False

    @rule(how=st.sampled_from(["good", "good", "slow", "failed", "failed"]), times=st.integers(1, 4))
    def call(self, how: str, times: int) -> None:
        for _ in range(times):
            self.reference.call(self.clock.now, how)
            if how == "failed":
                self.breaker.failed()
            else:
                self.breaker.succeeded(seconds=99.0 if how == "slow" else 0.1)

    @rule(seconds=st.sampled_from([1, 1, 2, 5, 10, 15, 31, 60, 120, 600]))
    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.go_on(1)
            self.reference.pass_time(self.clock.now)
            assert self.breaker.state is not None  # asked each second: a ramp begins when it is noticed

    @precondition(lambda self: self.breaker.due is not None)
    @rule(good=st.sampled_from([True, True, True, False]), times=st.integers(1, 3))
    def probe(self, good: bool, times: int) -> None:
        for _ in range(times):
            due = self.breaker.due
            if due is None:
                return
            self.breaker.probed(due.id, ProbeResult.GOOD if good else ProbeResult.BAD)
            self.reference.probe(self.clock.now, good=good)
            self.reference.pass_time(self.clock.now)
            self.wait(10)

    @invariant()
    def they_agree(self) -> None:
        now, reference = self.clock.now, self.reference
        assert {percent: self.breaker.admits(key) for percent, key in KEYS.items()} == {
            percent: percent < reference.share_at(now) for percent in KEYS
        }
        is_due = reference.opened_at is not None and now >= reference.probe_at
        assert (self.breaker.due is not None) == is_due
        status = self.breaker.status
        assert status.level == reference.level
        if reference.opened_at is not None:
            assert status.state in {BreakerState.OPEN, BreakerState.HALF_OPEN}
            assert status.good_probes == reference.good
            assert status.open_for_seconds == now - reference.opened_at
        else:
            assert status.state is (BreakerState.CLOSED if reference.ramp_at is None else BreakerState.RAMP)

    @invariant()
    def it_turns_three_times_in_ten_minutes_at_most(self) -> None:
        is_away = not self.breaker.admits(KEYS[0])
        if is_away is not self.was_away:
            self.turned.append(self.clock.now)
            self.was_away = is_away
        assert all(later - first >= 600 for first, later in zip(self.turned, self.turned[3:], strict=False))


BreakerMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestBreaker = BreakerMachine.TestCase
