"""When the secrets are read: by whom they are asked for, how often, how long between two, and until when."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scripts.launcher.waiting import wait_until
from service.secrets_manager import SecretsManager
from service.secrets_sources import Reading
from tests.unit.secrets.scripted_source import AWAY, LIMIT_SECONDS, Managed, reading, seldom

Manage = Callable[..., Managed]


@pytest.fixture
def manage() -> Iterator[Manage]:
    """`manage(answer, poll_seconds=1)`: a manager that is not started yet."""
    made: list[Managed] = []

    def make(answer: Reading | BaseException | None = None, **options: Any) -> Managed:
        made.append(Managed(answer, **options))
        return made[-1]

    yield make
    for managed in made:
        managed.close()


class Caller:
    """Somebody who calls `refresh` in a thread of its own."""

    def __init__(self, manager: SecretsManager, seconds: float = LIMIT_SECONDS) -> None:
        self.changed: list[bool] = []
        self._thread = threading.Thread(target=lambda: self.changed.append(manager.refresh(seconds)))
        self._thread.start()

    @property
    def is_waiting(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(2 * LIMIT_SECONDS)
        assert not self._thread.is_alive()


class CountedEvent(threading.Event):
    """Knows how many wait for it, or have."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0
        self._count = threading.Lock()

    def wait(self, timeout: float | None = None) -> bool:
        with self._count:
            self.waits += 1
        return super().wait(timeout)


# --- Asked for


def test_a_reading_under_way_does_not_count_for_who_asks_now(manage: Manage) -> None:
    """It may have got its answer already, from before the key was written."""
    managed = manage(reading("k1"))
    managed.start()
    with managed.source.held():
        managed.time.now += 1.0
        first = Caller(managed.manager)
        wait_until(lambda: len(managed.source.begun) == 2, LIMIT_SECONDS, "the reading of before")
        managed.source.answer = reading("k2")
        managed.manager._next_reading = asked = CountedEvent()
        second = Caller(managed.manager)
        wait_until(lambda: asked.waits == 1, LIMIT_SECONDS, "the second caller")
    first.join()
    assert first.changed == [False]
    assert second.is_waiting
    with managed.source.held():
        managed.time.now += 1.0
        wait_until(lambda: len(managed.source.begun) == 3, LIMIT_SECONDS, "a reading of its own")
        assert second.is_waiting
    second.join()
    assert second.changed == [True]


def test_many_who_ask_cost_one_reading(manage: Manage) -> None:
    managed = manage(reading("k1"))
    managed.start()
    managed.manager._next_reading = asked = CountedEvent()
    managed.source.answer = reading("k2")
    callers = [Caller(managed.manager) for _ in range(50)]
    wait_until(lambda: asked.waits == 50, LIMIT_SECONDS, "the callers")
    managed.time.now += 1.0
    for caller in callers:
        caller.join()
    assert {tuple(caller.changed) for caller in callers} == {(True,)}
    assert len(managed.source.begun) == 2


def test_there_is_at_most_one_reading_a_second_however_often_one_is_asked_for(manage: Manage) -> None:
    managed = manage(reading("k1"))
    managed.start()
    for _ in range(24):
        managed.time.now += 0.25
        managed.manager.refresh(0.06)  # more than the thread takes to notice that time has passed
    begun = managed.source.begun
    assert len(begun) > 2
    assert min(later - earlier for earlier, later in itertools.pairwise(begun)) >= 1.0


def test_who_does_not_wait_is_not_kept_and_the_reading_comes_all_the_same(manage: Manage) -> None:
    managed = manage(reading("k1"))
    managed.start()
    managed.time.now += 1.0
    with managed.source.held():
        assert managed.manager.refresh(0.0) is False
        wait_until(lambda: len(managed.source.begun) == 2, LIMIT_SECONDS, "the reading")


def test_who_waits_waits_no_longer_than_he_likes(manage: Manage) -> None:
    managed = manage(reading("k1"))
    managed.start()
    managed.time.now += 1.0
    managed.source.answer = reading("k2")
    with managed.source.held():
        assert managed.manager.refresh(0.05) is False


def test_a_reading_that_fails_ends_the_waiting_too(manage: Manage) -> None:
    managed = manage(reading("k1"))
    managed.start()
    assert managed.read(AWAY) is False
    assert managed.read(RuntimeError("on purpose")) is False


def test_who_asks_is_served_during_a_back_off_and_during_the_spread_at_the_start(manage: Manage) -> None:
    managed = manage(AWAY, spread_seconds=4.0, uniform=lambda low, high: 1_000.0)
    managed.manager.start()
    assert managed.manager.refresh(LIMIT_SECONDS) is False
    assert managed.read(reading("k1")) is True


# --- By itself


class Pauses(threading.Event):
    """In the place of the event that the thread waits for: time flies, until `count` pauses have been made."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        if len(self.seconds) >= self._count:
            return super().wait(LIMIT_SECONDS)
        assert timeout is not None
        self.seconds.append(timeout)
        return False


def pauses_of(managed: Managed, count: int) -> list[float]:
    managed.manager._wake = pauses = Pauses(count)
    managed.manager.start()
    wait_until(lambda: len(pauses.seconds) == count, LIMIT_SECONDS, "the pauses")
    return pauses.seconds


def test_between_two_readings_lie_four_to_five_fifths_of_the_poll(manage: Manage) -> None:
    managed = manage(reading("k1"), poll_seconds=30.0, uniform=random.Random(3).uniform)
    _, *pauses = pauses_of(managed, 1_001)
    assert 24.0 <= min(pauses) < 24.1
    assert 29.9 < max(pauses) <= 30.0
    tenths = [sum(1 for one in pauses if int((one - 24.0) / 0.6) == tenth) for tenth in range(10)]
    assert min(tenths) > 60


def test_failures_are_followed_by_pauses_of_full_jitter_up_to_a_quarter_of_a_minute(manage: Manage) -> None:
    managed = manage(AWAY, uniform=random.Random(3).uniform)
    _, *pauses = pauses_of(managed, 1_001)
    for number, pause in enumerate(pauses):
        assert 0.0 <= pause <= min(15.0, 0.5 * 2.0**number), number
    late = pauses[5:]
    assert min(late) < 0.2
    assert max(late) > 14.8
    assert sum(late) / len(late) == pytest.approx(7.5, abs=0.5)


def test_the_bounds_of_the_jitter_double_from_half_a_second_on_and_begin_anew_after_a_success(manage: Manage) -> None:
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        if len(bounds) == 9:
            managed.source.answer = reading("k1")
        if len(bounds) == 10:
            managed.source.answer = AWAY
        return high

    managed = manage(AWAY, uniform=uniform)
    pauses_of(managed, 13)
    spread, *drawn = bounds
    assert spread == (0.0, 0.0)
    failing = [(0.0, high) for high in (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)]
    assert drawn[:12] == [*failing, (0.8, 1.0), *failing[:3]]


def test_a_token_that_wants_to_be_renewed_sooner_than_the_poll_is(manage: Manage) -> None:
    managed = manage(reading("k1"), poll_seconds=30.0, uniform=lambda low, high: high)
    managed.source.seconds_to_upkeep = 2.5
    assert pauses_of(managed, 4)[1:] == [2.5, 2.5, 2.5]


def test_an_upkeep_that_is_always_due_does_not_make_the_thread_spin(manage: Manage) -> None:
    """Vault may hand out a lease of nothing, or time may pass between the renewal and the reading's end."""
    managed = manage(reading("k1"), poll_seconds=30.0, uniform=lambda low, high: high)
    managed.source.seconds_to_upkeep = 0.0
    assert min(pauses_of(managed, 4)[1:]) >= 0.1


def test_the_first_reading_is_spread_by_chance_and_the_others_follow(manage: Manage) -> None:
    spread = [pauses_of(manage(spread_seconds=4.0, uniform=random.Random(seed).uniform), 1)[0] for seed in range(100)]
    assert 0.0 <= min(spread) < 0.4
    assert 3.6 < max(spread) <= 4.0
    assert len(set(spread)) == 100


def test_a_source_that_is_away_at_the_start_is_found_when_it_is_back(manage: Manage) -> None:
    managed = manage(AWAY, uniform=lambda low, high: 0.0 if high < 20 else 1_000.0)
    managed.manager._wake = Pauses(1_000_000)
    managed.manager.start()
    wait_until(lambda: len(managed.source.begun) > 5, LIMIT_SECONDS, "several attempts")
    managed.source.answer = reading("k1")
    assert managed.manager.wait_until_read(LIMIT_SECONDS)
    managed.manager._is_closed = True


# --- The end


def test_making_one_starts_nothing(manage: Manage) -> None:
    threads = set(threading.enumerate())
    managed = manage()
    assert set(threading.enumerate()) == threads
    assert managed.source.begun == []


def test_closing_ends_the_thread_and_the_source_and_forgets_what_was_read(manage: Manage) -> None:
    managed = manage(reading("k1"))
    managed.start()
    managed.read(reading("k2"))
    managed.manager.close()
    assert not managed.thread.is_alive()
    assert managed.source.is_closed
    assert managed.manager.status().names == ()
    assert managed.manager._previous == {}
    managed.manager.close()  # again


def test_closing_one_that_was_never_started_closes_the_source(manage: Manage) -> None:
    managed = manage()
    managed.manager.close()
    assert managed.source.is_closed
    assert managed.source.begun == []


def test_closing_does_not_wait_for_the_spread_at_the_start(manage: Manage) -> None:
    managed = manage(spread_seconds=4.0, uniform=lambda low, high: 1_000.0)
    managed.manager.start()
    managed.manager.close()
    assert not managed.thread.is_alive()
    assert managed.source.begun == []


def test_closing_does_not_wait_for_a_pause(manage: Manage) -> None:
    for answer in (reading("k1"), AWAY):
        managed = manage(answer)
        managed.start()
        managed.manager.close()
        assert not managed.thread.is_alive()


def test_a_reading_under_way_is_waited_for_up_to_the_timeout_and_no_longer(manage: Manage) -> None:
    managed = manage(reading("k1"))
    with managed.source.held():
        managed.manager.start()
        wait_until(lambda: len(managed.source.begun) == 1, LIMIT_SECONDS, "the reading")
        managed.manager.close(timeout=0.05)
        assert managed.thread.is_alive()
        assert not managed.source.is_closed, "it is in use"
    managed.wait_for_end()
    assert managed.source.is_closed


def test_what_comes_after_the_close_is_not_kept_and_nobody_is_told(manage: Manage) -> None:
    managed = manage(reading("k1"))
    managed.start()
    managed.source.answer = reading("k2")
    with managed.source.held():
        managed.time.now += 1.0
        managed.manager.refresh(0.0)
        wait_until(lambda: len(managed.source.begun) == 2, LIMIT_SECONDS, "the reading")
        managed.manager.close(timeout=0.05)
    managed.wait_for_end()
    assert managed.manager.status().names == ()
    assert managed.rotations == []


def test_a_close_at_the_moment_in_which_a_reading_begins_ends_the_thread_too(manage: Manage) -> None:
    """The thread has looked whether it is to end, and clears the event that would tell it."""
    begins, closed = threading.Event(), threading.Event()

    def clock() -> float:
        if threading.current_thread().name == "secrets" and not begins.is_set():
            begins.set()
            assert closed.wait(LIMIT_SECONDS)
        return 0.0

    managed = manage(reading("k1"), clock=clock, uniform=seldom)
    managed.manager.start()
    assert begins.wait(LIMIT_SECONDS)
    managed.manager.close(timeout=0.0)
    closed.set()
    managed.wait_for_end()


def test_who_waits_for_a_reading_when_it_is_closed_is_let_go(manage: Manage) -> None:
    managed = manage(reading("k1"))
    managed.start()
    managed.manager._next_reading = asked = CountedEvent()
    caller = Caller(managed.manager, seconds=LIMIT_SECONDS)
    wait_until(lambda: asked.waits == 1, LIMIT_SECONDS, "the caller")
    managed.manager.close()
    wait_until(lambda: not caller.is_waiting, LIMIT_SECONDS / 5, "the end of waiting")
