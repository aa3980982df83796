"""The deadline: what is left, whom it reaches, and whom it does not."""

from __future__ import annotations

import contextvars
import threading

import gevent
import pytest

from service.deadline import SHORTEST_TIMEOUT, deadline, remaining_seconds, within_deadline
from tests.unit.retrying import FakeTime


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def test_without_a_deadline_every_timeout_is_what_it_was() -> None:
    assert remaining_seconds() is None
    assert within_deadline(30.0) == 30.0


def test_a_timeout_is_cut_to_what_is_left_and_never_to_nothing(fake: FakeTime) -> None:
    with deadline(2.0, clock=fake.clock):
        assert (within_deadline(30.0), within_deadline(1.0)) == (2.0, 1.0)
        fake.now += 1.5
        assert (remaining_seconds(), within_deadline(30.0)) == (0.5, 0.5)
        fake.now += 60.0
        assert (remaining_seconds(), within_deadline(30.0)) == (0.0, SHORTEST_TIMEOUT)
        assert within_deadline(0.0) == 0.0  # who would not wait at all still does not
    assert remaining_seconds() is None


@pytest.mark.parametrize(("outer", "inner", "left"), [(5.0, 2.0, 2.0), (2.0, 5.0, 2.0)])
def test_of_two_deadlines_the_first_counts_and_the_outer_one_comes_back(
    fake: FakeTime, outer: float, inner: float, left: float
) -> None:
    with deadline(outer, clock=fake.clock):
        with deadline(inner, clock=fake.clock) as counting:
            assert remaining_seconds() == counting.remaining() == left
        assert remaining_seconds() == outer


def test_it_is_gone_after_an_error_too(fake: FakeTime) -> None:
    with pytest.raises(ZeroDivisionError), deadline(2.0, clock=fake.clock):
        raise ZeroDivisionError
    assert remaining_seconds() is None


def test_another_thread_or_greenlet_has_none_unless_the_context_is_handed_on(fake: FakeTime) -> None:
    seen: list[float | None] = []

    def look() -> None:
        seen.append(remaining_seconds())

    with deadline(2.0, clock=fake.clock):
        handed_on = contextvars.copy_context()
        for target in (look, lambda: handed_on.run(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join(10)
            gevent.spawn(target).join(10)
    assert seen == [None, None, 2.0, 2.0]
