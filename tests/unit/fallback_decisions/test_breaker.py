"""The breaker, step by step: what opens it, what is probed, and how slowly it comes back."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import pytest

from service.fallback.breaker import Breaker
from service.fallback.breaker_terms import BreakerTerms, Opening
from service.fallback.call_window import CallWindow
from service.metrics_fallback import BreakerState, ProbeResult
from tests.unit.fallback_decisions.hand_clock import HandClock

CLOSED, OPEN, HALF_OPEN, RAMP = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.RAMP
TERMS = BreakerTerms()
KEYS = [f"conv_{number}" for number in range(2_000)]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def breaker(clock: HandClock) -> Breaker:
    return Breaker(TERMS, clock=clock)


def share(breaker: Breaker) -> float:
    return sum(breaker.admits(key) for key in KEYS) / len(KEYS)


def trip(breaker: Breaker) -> Opening:
    for _ in range(5):
        breaker.failed()
    opening = breaker.opening
    assert opening is not None
    return opening


def come_back(breaker: Breaker, clock: HandClock) -> None:
    """Probe well whenever it is due, until the ramp begins."""
    while breaker.opening is not None:
        if (due := breaker.due) is not None:
            breaker.probed(due.id, ProbeResult.GOOD)
        clock.go_on(1.0)


def test_five_failures_in_a_row_open_it_at_once(breaker: Breaker) -> None:
    for _ in range(4):
        breaker.failed()
    assert breaker.state is CLOSED
    breaker.failed()
    assert breaker.state is OPEN
    assert share(breaker) == 0


def test_two_seconds_of_nothing_but_failures_open_it(breaker: Breaker, clock: HandClock) -> None:
    breaker.failed()
    clock.go_on(1.9)
    breaker.failed()
    assert breaker.state is CLOSED
    clock.go_on(0.1)
    breaker.failed()
    assert breaker.state is OPEN


def test_two_failures_with_a_good_call_between_them_do_not(breaker: Breaker, clock: HandClock) -> None:
    breaker.failed()
    clock.go_on(5.0)
    breaker.succeeded()
    breaker.failed()
    assert breaker.state is CLOSED


def test_two_failures_far_apart_are_two_accidents(breaker: Breaker, clock: HandClock) -> None:
    for _ in range(50):
        breaker.failed()
        clock.go_on(31.0)
    assert breaker.state is CLOSED


def test_half_of_the_calls_is_too_much_once_there_were_five(breaker: Breaker, clock: HandClock) -> None:
    for failed in (True, False, True, False):
        breaker.failed() if failed else breaker.succeeded()
        clock.go_on(1.0)
    assert breaker.state is CLOSED
    breaker.failed()
    assert breaker.state is OPEN


def test_slow_calls_open_it_from_four_in_five_on(breaker: Breaker) -> None:
    breaker.succeeded(seconds=0.2)
    for _ in range(3):
        breaker.succeeded(seconds=TERMS.slow_seconds + 0.1)
    assert breaker.state is CLOSED
    breaker.succeeded(seconds=TERMS.slow_seconds + 0.1)
    assert breaker.state is OPEN


def test_a_few_failures_among_many_calls_change_nothing(breaker: Breaker, clock: HandClock) -> None:
    for number in range(1_000):
        breaker.failed() if number % 3 == 0 else breaker.succeeded()
        clock.go_on(0.1)
    assert breaker.state is CLOSED


def test_a_failure_is_forgotten_with_the_window(breaker: Breaker, clock: HandClock) -> None:
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    breaker.succeeded()
    clock.go_on(31.0)
    breaker.failed()
    assert breaker.state is CLOSED
    assert breaker.status.calls == 1


def test_the_window_ends_after_thirty_seconds() -> None:
    window = CallWindow(30.0)
    window.note(100.0, failed=True, slow=False)
    assert [window.counts(100.0 + later).failed for later in (0.0, 29.0, 30.0)] == [1, 1, 0]


def test_what_was_before_it_opened_is_not_counted_when_it_is_back(clock: HandClock) -> None:
    breaker = Breaker(replace(TERMS, dwell_seconds=0.0), clock=clock)
    opening = trip(breaker)
    for _ in range(3):
        breaker.probed(opening.id, ProbeResult.GOOD)
    assert breaker.state is RAMP
    breaker.failed()
    assert breaker.state is RAMP
    assert breaker.status.calls == 1


def test_what_calls_tell_while_it_is_open_changes_nothing(breaker: Breaker, clock: HandClock) -> None:
    opening = trip(breaker)
    for _ in range(100):
        breaker.succeeded()
        breaker.failed()
    assert breaker.opening == opening
    clock.go_on(15.0)
    breaker.failed()
    assert breaker.due == opening


def test_it_is_probed_after_its_open_time_which_doubles_up_to_ten_minutes(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    seconds = []
    for _ in range(8):
        begun = clock.now
        while (due := breaker.due) is None:
            clock.go_on(0.5)
        seconds.append(clock.now - begun)
        assert breaker.state is HALF_OPEN
        breaker.probed(due.id, ProbeResult.BAD)
        assert breaker.state is OPEN
    assert seconds == [15, 30, 60, 120, 240, 480, 600, 600]


def test_good_probes_do_not_bring_it_back_before_the_dwell_is_over(breaker: Breaker, clock: HandClock) -> None:
    opened_at = trip(breaker).opened_at
    come_back(breaker, clock)
    assert clock.now - opened_at == pytest.approx(TERMS.dwell_seconds, abs=1.0)
    assert breaker.state is RAMP


def test_a_bad_probe_makes_all_good_ones_before_it_worthless(breaker: Breaker, clock: HandClock) -> None:
    opening = trip(breaker)
    clock.go_on(500.0)
    for good in (True, True, False, True, True):
        breaker.probed(opening.id, ProbeResult.GOOD if good else ProbeResult.BAD)
    assert breaker.state is HALF_OPEN
    breaker.probed(opening.id, ProbeResult.GOOD)
    assert breaker.state is RAMP


def test_a_probe_of_another_opening_counts_nothing(breaker: Breaker, clock: HandClock) -> None:
    opening = trip(breaker)
    clock.go_on(500.0)
    for _ in range(5):
        breaker.probed("another", ProbeResult.GOOD)
    assert breaker.opening == opening


def test_it_gets_a_tenth_then_half_then_all_of_the_conversations(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    come_back(breaker, clock)
    begun, shares = clock.now, {}
    while breaker.state is RAMP:
        shares[int(clock.now - begun)] = round(share(breaker), 1)
        breaker.succeeded()
        clock.go_on(1.0)
    assert sorted(set(shares.values())) == [0.1, 0.5, 1.0]
    assert shares[10], shares[30] == (0.1, 0.5)
    assert clock.now - begun == pytest.approx(TERMS.ramp_seconds, abs=1.0)
    assert breaker.state is CLOSED


def test_who_is_in_the_ramp_stays_in_it_and_in_every_worker_alike(clock: HandClock) -> None:
    workers = [Breaker(TERMS, clock=clock) for _ in range(2)]
    for breaker in workers:
        trip(breaker)
        clock.go_on(0.0)
    for _ in range(400):
        for breaker in workers:
            if (due := breaker.due) is not None:
                breaker.probed(due.id, ProbeResult.GOOD)
        clock.go_on(0.5)
        if all(breaker.state is RAMP for breaker in workers):
            break
    first = {key for key in KEYS if workers[0].admits(key)}
    assert first == {key for key in KEYS if workers[1].admits(key)}
    assert first == {key for key in KEYS if zlib.crc32(key.encode()) % 100 < 10}
    clock.go_on(25.0)
    assert first < {key for key in KEYS if workers[0].admits(key)}


def test_a_relapse_in_the_ramp_opens_it_with_twice_the_time(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    come_back(breaker, clock)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.state is RAMP
    breaker.failed()
    opening = breaker.opening
    assert opening is not None
    assert opening.probe_at - clock.now == 2 * TERMS.open_seconds


def test_the_doubling_is_forgotten_after_a_quiet_time(breaker: Breaker, clock: HandClock) -> None:
    opening = trip(breaker)
    for _ in range(2):
        breaker.probed(opening.id, ProbeResult.BAD)
    clock.go_on(600.0)
    come_back(breaker, clock)
    assert breaker.status.level == 3
    levels = []
    for _ in range(3):
        clock.go_on(60.0 + 600.0)
        levels.append(breaker.status.level)
    assert levels[-1] < 3
    clock.go_on(3_600.0)
    assert breaker.status.level == 0
    assert trip(breaker).probe_at - clock.now == TERMS.open_seconds


def test_it_comes_back_once_in_ten_minutes(breaker: Breaker, clock: HandClock) -> None:
    trip(breaker)
    come_back(breaker, clock)
    returned_at = clock.now
    trip(breaker)
    come_back(breaker, clock)
    assert clock.now - returned_at == pytest.approx(TERMS.flap_seconds, abs=2.0)


def test_changes_are_told_once_each_and_in_order(clock: HandClock) -> None:
    told: list[tuple[BreakerState, BreakerState]] = []
    breaker = Breaker(TERMS, clock=clock, on_change=lambda before, after: told.append((before, after)))
    trip(breaker)
    come_back(breaker, clock)
    clock.go_on(61.0)
    assert breaker.state is CLOSED
    assert told == [(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, RAMP), (RAMP, CLOSED)]


def test_a_listener_may_ask_the_breaker(clock: HandClock) -> None:
    asked: list[BreakerState] = []
    breaker = Breaker(TERMS, clock=clock, on_change=lambda *_: asked.append(breaker.status.state))
    trip(breaker)
    assert asked == [OPEN]


# --- Conversations that have left


def test_a_conversation_that_left_waits_as_long_as_if_it_had_opened(breaker: Breaker, clock: HandClock) -> None:
    breaker.failed()
    assert breaker.state is CLOSED
    assert breaker.admits("conv")
    assert not breaker.may_return("conv")
    clock.go_on(TERMS.dwell_seconds - 1)
    assert not breaker.may_return("conv")
    clock.go_on(1)
    assert breaker.may_return("conv")


def test_after_a_second_failure_soon_it_waits_until_flapping_is_forgotten(breaker: Breaker, clock: HandClock) -> None:
    breaker.failed()
    clock.go_on(TERMS.dwell_seconds)
    breaker.failed()
    clock.go_on(TERMS.flap_seconds - 1)
    assert not breaker.may_return("conv")
    clock.go_on(1)
    assert breaker.may_return("conv")


def test_where_most_calls_go_well_one_failure_keeps_nobody_away(breaker: Breaker) -> None:
    breaker.failed()
    for _ in range(9):
        breaker.succeeded()
    assert breaker.may_return("conv")


def test_nobody_returns_while_it_is_open_and_in_the_ramp_those_who_are_admitted(
    breaker: Breaker, clock: HandClock
) -> None:
    trip(breaker)
    assert not any(breaker.may_return(key) for key in KEYS)
    come_back(breaker, clock)
    assert all(breaker.may_return(key) is breaker.admits(key) for key in KEYS)


# --- What other workers found


def advice(clock: HandClock, **changes: object) -> Opening:
    plain = Opening("theirs", opened_at=clock.now - 10, probe_at=clock.now + 5, level=2)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_worker_that_knows_nothing_does_as_the_others(breaker: Breaker, clock: HandClock) -> None:
    assert breaker.take_advice(advice(clock))
    assert breaker.state is OPEN
    assert breaker.opening == advice(clock)
    assert breaker.status.level == 2


def test_a_worker_whose_own_calls_go_well_knows_better(breaker: Breaker, clock: HandClock) -> None:
    for _ in range(5):
        breaker.succeeded()
    assert not breaker.take_advice(advice(clock))
    assert breaker.state is CLOSED
    clock.go_on(31.0)
    assert breaker.take_advice(advice(clock))


def test_old_advice_about_what_is_over_is_not_taken(breaker: Breaker, clock: HandClock) -> None:
    opening = trip(breaker)
    come_back(breaker, clock)
    assert not breaker.take_advice(opening)
    assert breaker.state is RAMP


def test_a_new_worker_joins_the_ramp_of_the_others_where_it_is(breaker: Breaker, clock: HandClock) -> None:
    breaker.join_ramp(clock.now - 25.0)
    assert breaker.state is RAMP
    assert share(breaker) == pytest.approx(0.5, abs=0.05)
    clock.go_on(35.0)
    assert breaker.state is CLOSED
    breaker.join_ramp(clock.now - 61.0)
    assert breaker.state is CLOSED


# --- Flapping


def switches(rng: random.Random, *, is_well: object, calls_a_second: float) -> list[float]:
    """The times at which the breaker turned away or came back, in ten minutes of a primary that is never well long."""
    clock, turned = HandClock(0.0), []

    def note(before: BreakerState, after: BreakerState) -> None:
        if (after is OPEN and before in {CLOSED, RAMP}) or after is RAMP:
            turned.append(clock.now)

    breaker = Breaker(TERMS, clock=clock, on_change=note)
    assert callable(is_well)
    while clock.now < 600.0:
        if (due := breaker.due) is not None:
            breaker.probed(due.id, ProbeResult.GOOD if is_well(clock.now) else ProbeResult.BAD)
        if breaker.admits(f"conv_{rng.random()}"):
            breaker.succeeded() if is_well(clock.now) else breaker.failed()
        clock.go_on(rng.expovariate(calls_a_second))
    return turned


@pytest.mark.parametrize("seed", range(8))
def test_a_primary_that_fails_every_second_call_causes_three_switches_at_most(seed: int) -> None:
    rng = random.Random(seed)
    turned = switches(rng, is_well=lambda _now: rng.random() < 0.5, calls_a_second=(0.5, 2.0, 10.0)[seed % 3])
    assert 1 <= len(turned) <= 3


@pytest.mark.parametrize("seconds", [3, 7, 20, 45, 60, 90, 130, 200])
def test_a_primary_that_comes_and_goes_causes_three_switches_at_most(seconds: int) -> None:
    rng = random.Random(seconds)
    for offset in (0, seconds // 2):
        turned = switches(rng, is_well=lambda now: int((now + offset) / seconds) % 2 == 1, calls_a_second=5.0)  # noqa: B023
        assert 1 <= len(turned) <= 3


@pytest.mark.parametrize("seconds", [3, 20, 60, 130, 200])
def test_a_conversation_alone_is_not_carried_to_and_fro_either(seconds: int) -> None:
    """One turn each 6 s; with so few calls the breaker itself seldom has enough to open."""
    rng = random.Random(seconds)
    for _ in range(5):
        clock, is_away, turned = HandClock(0.0), False, 0
        breaker, offset = Breaker(TERMS, clock=clock), rng.uniform(0, 2 * seconds)
        while clock.now < 600.0:
            is_well = int((clock.now + offset) / seconds) % 2 == 1
            if (due := breaker.due) is not None:
                breaker.probed(due.id, ProbeResult.GOOD if is_well else ProbeResult.BAD)
            if is_away and breaker.may_return("conv"):
                is_away, turned = False, turned + 1
            if not is_away:
                breaker.succeeded() if is_well else breaker.failed()
                is_away, turned = not is_well, turned + (not is_well)
            clock.go_on(rng.uniform(4.0, 8.0))
        assert turned <= 3
