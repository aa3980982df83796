"""How old a connection may become, when a refill is tried again, what a snapshot tells: with a clock of the test's."""

from __future__ import annotations

import pytest

from service.pool_parts import PoolLimits
from service.pool_state import LONGEST_BACKOFF_SECONDS, PoolState
from service.pool_stats import RECENT_SECONDS, PoolStats, RecentMaximum
from tests.unit.connection_pool.equations import assert_reconciled


def open_state(**bounds: float) -> PoolState[int]:
    chosen = {"min_idle": 0, "max_size": 1000, "max_waiting": 10, "max_idle": 100.0, "max_lifetime": 1000.0, **bounds}
    state: PoolState[int] = PoolState(PoolLimits(**chosen), name="ages")  # type: ignore[arg-type]
    state.is_open = True
    return state


def fill(state: PoolState[int], count: int, now: float) -> None:
    """Open `count` connections that rest."""
    state.resize(min_idle=count, max_size=state.limits.max_size)
    for number in range(count):
        assert state.begin_opening(now)
        state.has_opened(number, state.generation, now)
    assert state.stats(now).idle == count
    state.resize(min_idle=0, max_size=state.limits.max_size)


@pytest.mark.parametrize(("bound", "limit"), [("max_idle", 100.0), ("max_lifetime", 1000.0)])
def test_ages_are_shortened_by_five_percent_at_most_and_evenly(bound: str, limit: float) -> None:
    other = {"max_idle", "max_lifetime"} - {bound}
    state = open_state(**{bound: limit, other.pop(): 1e9})
    fill(state, 1000, 0.0)
    state.retire_aged(0.95 * limit - 0.001)
    assert state.stats(0.0).expired == 0
    gone = []
    for step in range(1, 6):
        state.retire_aged((0.95 + step / 100) * limit)
        gone.append(state.stats(0.0).expired)
    assert gone[-1] == 1000
    for step, count in enumerate(gone, 1):
        assert abs(count - 200 * step) < 80  # six standard deviations


def test_what_became_too_old_at_rest_is_never_lent() -> None:
    state = open_state(max_idle=10.0)
    fill(state, 3, 0.0)
    waiter = state.arrive(11.0, may_wait=True)
    assert waiter.pooled is None
    stats = state.stats(11.0)
    assert (stats.expired, stats.idle, stats.closing, stats.waiting) == (3, 0, 3, 1)


def test_the_connection_that_rests_the_shortest_is_lent_first_so_that_a_surplus_ages() -> None:
    state = open_state()
    fill(state, 3, 0.0)
    for _ in range(3):
        waiter = state.arrive(1.0, may_wait=True)
        pooled = state.served(waiter, 1.0)
        assert pooled.connection == 2
        state.returned(pooled, 2.0, 1.0)


def test_a_refill_that_fails_is_tried_later_and_later_up_to_a_limit() -> None:
    state = open_state(min_idle=1)
    now, pauses = 1000.0, []
    for _ in range(12):
        assert state.begin_opening(now)
        assert not state.begin_opening(now)
        state.has_failed(OSError(), now)
        pause = state.next_refill_in(now)
        assert pause is not None
        assert not state.begin_opening(now + pause - 0.001)
        pauses.append(pause)
        now += pause
    for attempt, pause in enumerate(pauses):
        ceiling = min(LONGEST_BACKOFF_SECONDS, 0.25 * 2**attempt)
        assert 0.5 * ceiling <= pause <= ceiling
    assert len({round(pause, 6) for pause in pauses[-4:]}) > 1, "no jitter"
    assert state.begin_opening(now)
    state.has_opened(1, state.generation, now)
    state.drain()
    assert state.begin_opening(now), "after a success nothing is waited for"


def test_attempts_that_fail_side_by_side_count_as_one_failure() -> None:
    state = open_state(min_idle=8)
    for _ in range(8):
        assert state.begin_opening(1000.0)
    for _ in range(8):
        state.has_failed(OSError(), 1000.0)
    pause = state.next_refill_in(1000.0)
    assert pause is not None
    assert pause <= 0.25
    assert state.begin_opening(1000.25)
    assert not state.begin_opening(1000.25), "one goes ahead"


def test_a_caller_with_patience_is_not_kept_waiting_by_the_pause_of_the_refill() -> None:
    state = open_state(min_idle=1)
    assert state.begin_opening(1000.0)
    state.has_failed(OSError(), 1000.0)
    assert not state.begin_opening(1000.0)
    state.arrive(1000.0, may_wait=True)
    assert state.begin_opening(1000.0)


def test_a_caller_whose_time_is_up_in_the_moment_of_the_hand_over_is_served() -> None:
    state = open_state(max_size=1)
    fill(state, 1, 0.0)
    first = state.served(state.arrive(0.0, may_wait=True), 0.0)
    late = state.arrive(0.0, may_wait=True)
    state.returned(first, 5.0, 5.0)  # the event is set; `late` has not looked yet, and its limit is over
    assert late.pooled is first
    assert state.served(late, 6.0) is first
    assert_reconciled(state.stats(6.0))


def test_a_broken_connection_costs_a_caller_no_place_in_the_queue() -> None:
    state = open_state(max_size=1)
    fill(state, 1, 0.0)
    held = state.served(state.arrive(0.0, may_wait=True), 0.0)
    first, second = state.arrive(1.0, may_wait=True), state.arrive(2.0, may_wait=True)
    state.returned(held, 3.0, 1.0)
    state.failed_check(first, 3.0)
    assert list(state.queue) == [first, second]


def test_times_are_summed_and_the_longest_of_late_is_kept() -> None:
    state = open_state(max_size=1)
    fill(state, 1, 1000.0)
    pooled = state.served(state.arrive(1000.0, may_wait=True), 1000.0)
    waiter = state.arrive(1001.0, may_wait=True)
    state.returned(pooled, 1004.0, 4.0)
    state.served(waiter, 1004.0)
    state.returned(pooled, 1006.0, 2.0)
    stats = state.stats(1006.0)
    assert (stats.wait_seconds, stats.wait_seconds_recent_max) == (3.0, 3.0)
    assert (stats.use_seconds, stats.use_seconds_recent_max) == (6.0, 4.0)


def test_a_recent_maximum_forgets() -> None:
    maximum = RecentMaximum()
    maximum.note(9.0, 1000.0)
    maximum.note(2.0, 1000.0 + RECENT_SECONDS)
    assert maximum.at(1000.0 + RECENT_SECONDS + 1) == 9.0
    assert maximum.at(1000.0 + 2 * RECENT_SECONDS) == 2.0
    assert maximum.at(1000.0 + 4 * RECENT_SECONDS) == 0.0


def test_a_snapshot_survives_the_way_through_another_version_of_ours() -> None:
    stats = PoolStats(name="agents", lent=3, wait_seconds=0.5)
    assert PoolStats.from_dict(stats.as_dict()) == stats
    assert PoolStats.from_dict({"name": "agents", "of_the_future": 1}) == PoolStats(name="agents")
