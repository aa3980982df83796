"""The budget: how many may repeat, that it comes back, and that no number of threads overdraws it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.retry_budget import BudgetStats, RetryBudget
from tests.unit.retrying import FakeTime


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def take_all(budget: RetryBudget) -> int:
    taken = 0
    while budget.take():
        taken += 1
    return taken


@pytest.mark.parametrize(
    ("calls", "share", "minimum", "allowed"),
    [(0, 0.1, 3, 3), (0, 0.1, 0, 0), (9, 0.1, 3, 3), (10, 0.1, 3, 4), (1_000, 0.1, 3, 103), (50, 1.0, 0, 50)],
)
def test_a_share_of_the_calls_may_be_repeated_and_a_few_besides(
    fake: FakeTime, calls: int, share: float, minimum: int, allowed: int
) -> None:
    budget = RetryBudget(share=share, minimum=minimum, clock=fake.clock)
    for _ in range(calls):
        budget.note_call()
    assert take_all(budget) == allowed
    assert budget.stats() == BudgetStats(calls=calls, retries=allowed, available=0, refused=1)


def test_a_budget_that_is_used_up_is_whole_again_when_the_window_has_passed(fake: FakeTime) -> None:
    budget = RetryBudget(minimum=3, window_seconds=10.0, clock=fake.clock)
    assert take_all(budget) == 3
    fake.now += 9.0
    assert take_all(budget) == 0
    fake.now += 1.5
    assert take_all(budget) == 3
    fake.now += 1_000_000.0
    assert budget.stats().available == 3


def test_calls_that_have_left_the_window_pay_for_nothing(fake: FakeTime) -> None:
    budget = RetryBudget(share=0.1, minimum=0, window_seconds=10.0, clock=fake.clock)
    for _ in range(100):
        budget.note_call()
    fake.now += 9.0
    assert budget.stats().available == 10
    fake.now += 1.5
    assert budget.stats() == BudgetStats(calls=0, retries=0, available=0, refused=0)


def test_what_was_spent_while_there_were_many_calls_is_not_owed_when_they_are_gone(fake: FakeTime) -> None:
    budget = RetryBudget(share=0.1, minimum=3, window_seconds=10.0, clock=fake.clock)
    for _ in range(100):
        budget.note_call()
    fake.now += 9.0
    assert take_all(budget) == 13
    fake.now += 1.5
    assert budget.stats() == BudgetStats(calls=0, retries=13, available=0, refused=1)
    fake.now += 9.0
    assert budget.stats().available == 3


@pytest.mark.parametrize("pause", [10.0, 12.5, 15.0, 1_000.0])
def test_after_a_pause_nothing_of_before_is_left(fake: FakeTime, pause: float) -> None:
    budget = RetryBudget(share=1.0, minimum=3, window_seconds=10.0, clock=fake.clock)
    for _ in range(40):
        budget.note_call()
        assert budget.take()
        fake.now += 0.25
    assert budget.stats().calls >= 38
    fake.now += pause
    assert budget.stats() == BudgetStats(calls=0, retries=0, available=3, refused=0)


def test_a_clock_that_jumps_back_neither_fails_nor_gives_anything_away(fake: FakeTime) -> None:
    budget = RetryBudget(minimum=3, window_seconds=10.0, clock=fake.clock)
    assert take_all(budget) == 3
    fake.now -= 500.0
    assert take_all(budget) == 0
    fake.now += 20.0
    assert take_all(budget) == 0
    fake.now += 490.5
    assert take_all(budget) == 3


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns so often that what is not guarded by a lock breaks."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_threads")
def test_ten_threads_that_hammer_it_never_overdraw_it() -> None:
    budget = RetryBudget(share=0.1, minimum=3, window_seconds=3_600.0)
    taken, seen = [0] * 10, []
    begin = threading.Barrier(10)

    def hammer(number: int) -> None:
        begin.wait(10)
        for turn in range(2_000):
            budget.note_call()
            for _ in range(2):
                taken[number] += budget.take()
            if turn % 50 == 0:
                seen.append(budget.stats())

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(0 <= one.available <= one.calls * 0.1 + 3 for one in seen)
    assert all(one.retries <= one.calls * 0.1 + 3 for one in seen)
    assert sum(taken) == budget.stats().retries == 2_003
    assert budget.stats() == BudgetStats(calls=20_000, retries=2_003, available=0, refused=40_000 - 2_003)


class Lingering(int):
    """Gives way to other threads between what is left being known and its being taken."""

    def __radd__(self, other: int) -> Lingering:
        return Lingering(int(self) + other)

    def __sub__(self, other: int) -> int:
        left = int(self) - other
        time.sleep(0.001)
        return left


def test_threads_that_ask_at_the_same_moment_do_not_share_what_is_left() -> None:
    budget = RetryBudget(share=0.0, minimum=Lingering(5), window_seconds=3_600.0)
    begin = threading.Barrier(10)
    taken: list[bool] = []

    def ask() -> None:
        begin.wait(10)
        taken.extend(budget.take() for _ in range(3))

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(taken), sum(taken)) == (30, 5)


STEPS = st.lists(st.sampled_from(["call", "take"]) | st.floats(0.0, 12.0), max_size=200)


@given(steps=STEPS, share=st.sampled_from([0.0, 0.1, 0.5, 1.0]), minimum=st.integers(0, 4))
def test_it_agrees_with_a_list_of_everything_that_happened(
    steps: list[str | float], share: float, minimum: int
) -> None:
    """The oracle keeps each event's slice of half a second; the twenty youngest slices are the window."""
    fake = FakeTime()
    budget = RetryBudget(share=share, minimum=minimum, window_seconds=10.0, clock=fake.clock)
    calls: list[int] = []
    retries: list[int] = []
    for step in steps:
        if isinstance(step, float):
            fake.now += step
        present = int(fake.now / 0.5)
        inside = [sum(1 for one in events if one > present - 20) for events in (calls, retries)]
        left = max(0, int(share * inside[0]) + minimum - inside[1])
        if step == "call":
            budget.note_call()
            calls.append(present)
        elif step == "take":
            assert budget.take() is (left >= 1)
            if left >= 1:
                retries.append(present)
        else:
            assert budget.stats().available == left
