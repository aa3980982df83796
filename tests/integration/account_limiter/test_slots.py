"""Taking, waiting for and giving back slots, with limiters of two processes' kind on a real Valkey."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from scripts.launcher.waiting import wait_until
from service.account_limiter import AccountLimiter, Lease, Priority, QueuePosition
from service.errors import LimiterClosedError, LimiterFullError, LimiterTimeoutError
from tests.integration.account_limiter.conftest import MakeLimiter

LIVE, GREETING, OTHER = Priority


def test_no_more_are_handed_out_than_there_are(make_limiter: MakeLimiter) -> None:
    here, there = make_limiter(), make_limiter()
    held = [here.acquire(LIVE, timeout=5), there.acquire(OTHER, timeout=5)]
    for limiter in (here, there):
        with pytest.raises(LimiterTimeoutError, match="no slot within 0 s"):
            limiter.acquire(LIVE, timeout=0)
    assert held[1].fence > held[0].fence > 0


def test_what_one_process_gives_back_another_one_gets(make_limiter: MakeLimiter) -> None:
    here, there = make_limiter(cap=1), make_limiter(cap=1)
    lease = here.acquire(LIVE, timeout=5)
    with waiting(there, LIVE) as next_one:
        lease.release()
        assert next_one().fence > lease.fence


def test_a_second_release_takes_nothing_from_whoever_came_next(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(cap=1)
    with limiter.acquire(LIVE, timeout=5) as lease:
        pass
    limiter.acquire(LIVE, timeout=5)
    lease.release()
    with pytest.raises(LimiterTimeoutError):
        limiter.acquire(LIVE, timeout=0.3)


def test_live_turns_go_before_greetings_and_those_before_the_rest(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(cap=1)
    lease = limiter.acquire(LIVE, timeout=5)
    order: list[Priority] = []

    def take(priority: Priority) -> None:
        with limiter.acquire(priority, timeout=20):
            order.append(priority)

    with ThreadPoolExecutor() as threads:
        for number, priority in enumerate((OTHER, GREETING, LIVE, OTHER, LIVE), 1):
            threads.submit(take, priority)
            wait_until(lambda number=number: sum(limiter.stats().waiting.values()) == number)
        lease.release()
    assert order == [LIVE, LIVE, GREETING, OTHER, OTHER]


def test_the_reserved_share_is_for_live_turns_only(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(cap=4, reserved_share=0.5)
    for priority in (OTHER, GREETING):
        limiter.acquire(priority, timeout=5)
    with pytest.raises(LimiterTimeoutError):
        limiter.acquire(GREETING, timeout=0.3)
    for _ in range(2):
        limiter.acquire(LIVE, timeout=5)
    assert limiter.stats().reserved == 2


def test_whoever_comes_to_a_full_queue_is_told_at_once(make_limiter: MakeLimiter) -> None:
    limiter, other = make_limiter(cap=1, max_waiting=1), make_limiter(cap=1, max_waiting=1)
    lease = limiter.acquire(LIVE, timeout=5)
    with waiting(limiter, LIVE) as next_one:
        with pytest.raises(LimiterFullError, match="1 wait already"):
            other.acquire(LIVE, timeout=60)
        lease.release()
        next_one()
    assert other.stats().full == 1


def test_who_gives_up_leaves_the_queue(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(cap=1)
    limiter.acquire(LIVE, timeout=5)
    with pytest.raises(LimiterTimeoutError, match=r"1 of 1 held, position 1"):
        limiter.acquire(LIVE, timeout=0.3)
    wait_until(lambda: sum(limiter.stats().waiting.values()) == 0)
    assert limiter.stats().timeouts == 1


class KilledError(BaseException):
    """As a greenlet gets it."""


def test_who_is_killed_while_waiting_leaves_the_queue(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(cap=1)
    lease = limiter.acquire(LIVE, timeout=5)

    def kill(_: QueuePosition) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        limiter.acquire(LIVE, timeout=20, on_wait=kill)
    lease.release()
    limiter.acquire(OTHER, timeout=5)
    assert limiter.stats().timeouts == 0


def test_a_waiter_is_told_its_position_and_nothing_is_made_up(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(cap=1)
    lease = limiter.acquire(LIVE, timeout=5)
    told: list[QueuePosition] = []
    first = threading.Event()

    def note(position: QueuePosition) -> None:
        told.append(position)
        first.set()

    with waiting(limiter, LIVE) as ahead, waiting(limiter, LIVE, on_wait=note) as behind:
        assert first.wait(10)
        lease.release()
        ahead().release()
        behind()
    assert told[0] == QueuePosition(2, None)


def test_the_expected_wait_comes_from_how_long_leases_lasted(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(cap=1)
    for _ in range(3):
        with limiter.acquire(LIVE, timeout=5):
            threading.Event().wait(0.05)
    limiter.acquire(LIVE, timeout=5)
    told: list[QueuePosition] = []
    with pytest.raises(LimiterTimeoutError):
        limiter.acquire(LIVE, timeout=0.3, on_wait=told.append)
    assert told[0].position == 1
    assert told[0].expected_seconds is not None
    assert told[0].expected_seconds >= 0.05


def test_a_refusal_counts_for_all_processes(make_limiter: MakeLimiter) -> None:
    here, there = make_limiter(cap=8), make_limiter(cap=8)
    here.note_refusal()
    wait_until(lambda: here.stats().cap == 4)
    there.acquire(LIVE, timeout=5).release()
    assert (there.stats().cap, there.stats().plan_cap, here.stats().refusals) == (4, 8, 1)


def test_what_a_header_says_counts_for_all_processes(make_limiter: MakeLimiter) -> None:
    here, there = make_limiter(cap=8), make_limiter(cap=8)
    here.learn(current=5, maximum=3)
    wait_until(lambda: here.stats().plan_cap == 3)
    there.acquire(LIVE, timeout=5).release()
    assert (there.stats().cap, here.stats().account_current) == (3, 5)


def test_a_hundred_threads_never_hold_more_than_the_cap(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(cap=3, max_waiting=200)
    lock = threading.Lock()
    now = most = 0

    def work() -> None:
        nonlocal now, most
        with limiter.acquire(LIVE, timeout=60):
            with lock:
                now += 1
                most = max(most, now)
            threading.Event().wait(0.001)
            with lock:
                now -= 1

    with ThreadPoolExecutor(100) as threads:
        for done in [threads.submit(work) for _ in range(300)]:
            done.result(60)
    assert most == 3
    wait_until(lambda: limiter.stats().held == 0)
    stats = limiter.stats()
    assert (stats.grants, stats.held_here, stats.lost) == (300, 0, 0)


def test_a_limiter_that_closes_lets_its_waiters_go_and_takes_no_new_ones(make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(cap=1)
    limiter.acquire(LIVE, timeout=5)
    with waiting(limiter, LIVE) as next_one:
        limiter.close()
        with pytest.raises(LimiterClosedError):
            next_one()
    with pytest.raises(LimiterClosedError):
        limiter.acquire(LIVE, timeout=5)


def test_what_was_given_back_before_closing_is_free(make_limiter: MakeLimiter) -> None:
    limiter, other = make_limiter(cap=1), make_limiter(cap=1)
    limiter.acquire(LIVE, timeout=5).release()
    limiter.close()
    other.acquire(LIVE, timeout=0)


@pytest.mark.parametrize(
    "wrong", [{"cap": 0}, {"workers": 0}, {"max_waiting": -1}, {"reserved_share": 1.5}, {"ttl_seconds": 0.5}]
)
def test_settings_that_make_no_sense_are_refused(make_limiter: MakeLimiter, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong)))):
        make_limiter(**wrong)


class waiting:  # noqa: N801  # reads as what it is in `with`
    """In the block somebody waits for a slot; what it yields waits for the outcome."""

    def __init__(
        self, limiter: AccountLimiter, priority: Priority, *, on_wait: Callable[[QueuePosition], None] | None = None
    ) -> None:
        self._limiter, self._priority, self._on_wait = limiter, priority, on_wait
        self._threads = ThreadPoolExecutor(1)

    def __enter__(self) -> Callable[[], Lease]:
        before = sum(self._limiter.stats().waiting.values())
        future: Future[Lease] = self._threads.submit(
            self._limiter.acquire, self._priority, timeout=30, on_wait=self._on_wait
        )
        wait_until(lambda: sum(self._limiter.stats().waiting.values()) > before)
        return lambda: future.result(30)

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown()
