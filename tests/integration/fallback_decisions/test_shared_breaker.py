"""Breakers of several workers: advice through Redis, one probe at a time, and each alone when Redis is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import redis

from scripts.launcher.waiting import wait_until
from service.deadline import remaining_seconds
from service.errors import (
    LimiterTimeoutError,
    UpstreamQuotaError,
    UpstreamRequestError,
    UpstreamUnavailableError,
)
from service.fallback.breaker import Breaker
from service.fallback.breaker_terms import BreakerTerms
from service.fallback.shared_breaker import Canary, SharedBreaker
from service.fallback.shared_opening import SharedOpening
from service.metrics_fallback import BreakerState, ProbeResult
from service.storage import Capability
from tests.integration.fallback_decisions.conftest import OwnValkey
from tests.unit.fallback_decisions.hand_clock import HandClock

CLOSED, OPEN, HALF_OPEN, RAMP = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.RAMP
QUICK = BreakerTerms(open_seconds=0.2, probe_seconds=0.15, dwell_seconds=0.5, ramp_seconds=30.0)
NAME = "elevenlabs:speech"


class CountingCanary:
    """Notes how many probes there were, and how many at a time. `outcome` is called in each."""

    def __init__(self, outcome: Callable[[], object] = lambda: None) -> None:
        self.outcome = outcome
        self.made = self.most = self._now = 0
        self._lock = threading.Lock()

    def __call__(self, provider: str, capability: Capability) -> None:
        assert (provider, capability) == ("elevenlabs", Capability.SPEECH)
        with self._lock:
            self.made += 1
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            self.outcome()
        finally:
            with self._lock:
                self._now -= 1


def fail() -> None:
    raise UpstreamUnavailableError("It is down.", code="http_500", status=500)


def make(
    server: OwnValkey, canary: Canary, *, terms: BreakerTerms = QUICK, clock: HandClock | None = None
) -> SharedBreaker:
    return SharedBreaker(
        Breaker(terms, clock=clock),
        provider="elevenlabs",
        capability=Capability.SPEECH,
        store=server.client(),
        canary=canary,
        spread_seconds=0.0,
    )


def trip(worker: SharedBreaker) -> None:
    for _ in range(5):
        worker.breaker.failed()


def probe(worker: SharedBreaker) -> None:
    worker.probe_if_due()
    worker.join(10.0)


@pytest.fixture
def alive() -> Iterator[Callable[[list[SharedBreaker]], None]]:
    """Have workers look after their breakers as they do in a process of their own."""
    leaves, threads = threading.Event(), []

    def look_after(worker: SharedBreaker) -> None:
        while not leaves.wait(0.02):
            with suppress(redis.RedisError):
                worker.exchange()
            worker.probe_if_due()
        worker.join(10.0)

    def begin(workers: list[SharedBreaker]) -> None:
        for worker in workers:
            threads.append(threading.Thread(target=look_after, args=(worker,)))
            threads[-1].start()

    yield begin
    leaves.set()
    for thread in threads:
        thread.join(20.0)


def test_what_one_worker_finds_all_do_that_know_no_better(own_valkey: OwnValkey) -> None:
    canary = CountingCanary()
    first, idle, well = (make(own_valkey, canary) for _ in range(3))
    for _ in range(10):
        well.breaker.succeeded()
    trip(first)
    for worker in (first, idle, well):
        worker.exchange()
    # On a busy machine the time to the first probe is over by now.
    assert {first.breaker.state, idle.breaker.state} <= {OPEN, HALF_OPEN}
    assert well.breaker.state is CLOSED
    mine, theirs = first.breaker.opening, idle.breaker.opening
    assert mine is not None
    assert theirs is not None
    assert mine.id == theirs.id
    assert theirs.opened_at == pytest.approx(mine.opened_at, abs=0.1)


def test_two_that_open_at_once_speak_of_one_opening(own_valkey: OwnValkey) -> None:
    workers = [make(own_valkey, CountingCanary()) for _ in range(2)]
    for worker in workers:
        trip(worker)
    for worker in workers:
        worker.exchange()
    first, second = (worker.breaker.opening for worker in workers)
    assert first is not None
    assert second is not None
    assert first.id == second.id


def test_eight_workers_have_one_probe_in_flight_and_come_back_together(
    own_valkey: OwnValkey, alive: Callable[[list[SharedBreaker]], None]
) -> None:
    pause = threading.Event()
    canary = CountingCanary(lambda: pause.wait(0.1))  # never set: it takes as long as that
    workers = [make(own_valkey, canary) for _ in range(8)]
    trip(workers[0])
    alive(workers)
    wait_until(lambda: all(worker.breaker.opening is not None for worker in workers), 10.0)
    wait_until(lambda: all(worker.breaker.state is RAMP for worker in workers), 20.0)
    assert canary.most == 1
    assert 3 <= canary.made <= 12
    assert len({worker.breaker.left_id for worker in workers}) == 1


def test_while_it_is_down_eight_workers_probe_no_more_often_than_one_would(
    own_valkey: OwnValkey, alive: Callable[[list[SharedBreaker]], None]
) -> None:
    canary = CountingCanary(fail)
    workers = [make(own_valkey, canary) for _ in range(8)]
    trip(workers[0])
    begun = time.monotonic()
    alive(workers)
    wait_until(lambda: canary.made >= 3, 20.0)
    # 0.2 s until the first, 0.4 s and 0.8 s until the next two.
    assert time.monotonic() - begun >= 1.3
    assert canary.most == 1
    assert not any(worker.breaker.admits("conv") for worker in workers if worker.breaker.opening is not None)


def test_a_probe_has_a_deadline_and_one_that_takes_longer_is_bad(own_valkey: OwnValkey) -> None:
    clock, left = HandClock(), []

    def dawdle() -> None:
        left.append(remaining_seconds())
        clock.go_on(1.0)

    worker = make(own_valkey, CountingCanary(dawdle), clock=clock)
    trip(worker)
    clock.go_on(0.3)
    probe(worker)
    assert left[0] == pytest.approx(QUICK.probe_seconds, abs=0.05)
    opening = worker.breaker.opening
    assert opening is not None
    assert (opening.good, opening.level) == (0, 2)


def test_whatever_a_probe_raises_it_was_bad_and_the_lease_is_free(own_valkey: OwnValkey) -> None:
    def break_down() -> None:
        raise ZeroDivisionError

    clock = HandClock()
    worker = make(own_valkey, CountingCanary(break_down), clock=clock)
    trip(worker)
    clock.go_on(0.3)
    probe(worker)
    assert worker.breaker.state is OPEN
    assert not own_valkey.client().exists(f"vocero:breaker:{{{NAME}}}:lease")


def refuse() -> None:
    raise UpstreamRequestError("A voice with that id was not found.", code="voice_not_found", status=404)


def find_no_slot() -> None:
    raise LimiterTimeoutError("limiter speech: no slot within 5 s")


def fail_for_lack_of_credits() -> None:
    raise UpstreamQuotaError("Empty.", code="quota_exceeded", status=401)


@pytest.mark.parametrize(
    ("outcome", "good", "level"),
    [(refuse, 1, 1), (find_no_slot, 0, 1), (fail, 0, 2), (fail_for_lack_of_credits, 0, 2)],
    ids=["a wrong voice", "no slot of ours", "it is down", "it is still empty"],
)
def test_a_failed_probe_counts_by_whose_fault_it_was(
    own_valkey: OwnValkey, outcome: Callable[[], object], good: int, level: int
) -> None:
    """A voice that was deleted must not keep everybody on the backup, nor a full account close what is down."""
    clock = HandClock()
    worker = make(own_valkey, CountingCanary(outcome), terms=BreakerTerms(), clock=clock)
    trip(worker)
    worker.exchange()
    clock.go_on(20.0)
    own_valkey.client().hset(f"vocero:breaker:{{{NAME}}}:opening", "probe", 0)
    probe(worker)
    worker.exchange()
    opening = worker.breaker.opening
    assert opening is not None
    assert (opening.good, opening.level) == (good, level)
    assert worker.breaker.due is None


def test_the_lease_of_a_worker_that_died_ends_by_itself(own_valkey: OwnValkey) -> None:
    shared = SharedOpening(own_valkey.client(), NAME)
    assert shared.take_lease("opening", 0.2) is not None
    assert shared.take_lease("opening", 0.2) is None
    wait_until(lambda: shared.take_lease("opening", 0.2) is not None, 5.0)


def test_nobody_gives_back_another_ones_lease(own_valkey: OwnValkey) -> None:
    shared = SharedOpening(own_valkey.client(), NAME)
    token = shared.take_lease("opening", 10.0)
    assert token is not None
    shared.give_back("0" * 16)
    assert shared.take_lease("opening", 10.0) is None
    shared.give_back(token)
    assert shared.take_lease("opening", 10.0) is not None


def test_who_reads_late_that_a_probe_is_due_makes_none(own_valkey: OwnValkey) -> None:
    canary = CountingCanary()
    clocks = [HandClock(), HandClock()]
    first, late = (make(own_valkey, canary, terms=BreakerTerms(), clock=clock) for clock in clocks)
    trip(first)
    first.exchange()
    late.exchange()
    for clock in clocks:
        clock.go_on(20.0)
    probe(late)  # by its own clock it is time; Redis knows that it is not
    assert canary.made == 0


# --- Redis is away


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_without_redis_a_worker_opens_probes_and_comes_back_alone(own_valkey: OwnValkey, how: str) -> None:
    clock, canary = HandClock(), CountingCanary()
    worker = make(own_valkey, canary, terms=BreakerTerms(), clock=clock)
    own_valkey.kill() if how == "killed" else own_valkey.hang()
    trip(worker)
    assert worker.breaker.state is OPEN
    with pytest.raises(redis.RedisError):
        worker.exchange()
    for _ in range(3):
        clock.go_on(15.0)
        probe(worker)
    assert canary.made == 3
    assert worker.breaker.state is HALF_OPEN
    clock.go_on(120.0)
    assert worker.breaker.state is RAMP


def test_an_emptied_redis_learns_again_what_lasts(own_valkey: OwnValkey) -> None:
    clock = HandClock()
    worker, other = (make(own_valkey, CountingCanary(), terms=BreakerTerms(), clock=clock) for _ in range(2))
    trip(worker)
    clock.go_on(15.0)
    worker.exchange()
    own_valkey.client().flushall()
    worker.exchange()
    other.exchange()
    mine, theirs = worker.breaker.opening, other.breaker.opening
    assert mine is not None
    assert theirs is not None
    assert theirs.id == mine.id
    assert theirs.opened_at == pytest.approx(clock.now - 15.0, abs=0.1)


def come_back(worker: SharedBreaker, clock: HandClock) -> None:
    while worker.breaker.opening is not None:
        if (due := worker.breaker.due) is not None:
            worker.breaker.probed(due.id, ProbeResult.GOOD)
        clock.go_on(5.0)


def test_a_worker_that_was_cut_off_does_not_open_again_what_the_others_have_left(own_valkey: OwnValkey) -> None:
    clock = HandClock()
    worker, cut_off, idle = (make(own_valkey, CountingCanary(), terms=BreakerTerms(), clock=clock) for _ in range(3))
    for each in (worker, cut_off):
        trip(each)
        each.exchange()
    come_back(worker, clock)
    worker.exchange()
    cut_off.exchange()
    idle.exchange()
    worker.exchange()
    assert worker.breaker.opening is None
    assert idle.breaker.state is RAMP
    assert cut_off.breaker.opening is not None  # until its own rules let it come back


def test_one_that_opened_unheard_before_the_others_came_back_tells_nothing_new(own_valkey: OwnValkey) -> None:
    clock = HandClock()
    worker, unheard, idle = (make(own_valkey, CountingCanary(), terms=BreakerTerms(), clock=clock) for _ in range(3))
    trip(worker)
    trip(unheard)
    worker.exchange()
    come_back(worker, clock)
    worker.exchange()
    unheard.exchange()
    for each in (idle, worker):
        each.exchange()
        assert each.breaker.opening is None


def test_a_relapse_is_a_new_opening_for_all(own_valkey: OwnValkey) -> None:
    clock = HandClock()
    worker, idle = (make(own_valkey, CountingCanary(), terms=BreakerTerms(), clock=clock) for _ in range(2))
    trip(worker)
    worker.exchange()
    come_back(worker, clock)
    worker.exchange()
    left = worker.breaker.left_id
    trip(worker)
    worker.exchange()
    idle.exchange()
    opening = idle.breaker.opening
    assert opening is not None
    assert opening.id != left
    assert opening.level == 2


def test_redis_may_hold_anything_under_our_keys(own_valkey: OwnValkey) -> None:
    store, worker = own_valkey.client(), make(own_valkey, CountingCanary())
    key = f"vocero:breaker:{{{NAME}}}:opening"
    for mapping in ({"id": "x"}, {"id": "x", "opened": "now", "probe": "", "level": "", "good": "", "ramp": ""}):
        store.hset(key, mapping=mapping)
        with suppress(redis.RedisError):
            worker.exchange()
        assert worker.breaker.state is CLOSED
    store.delete(key)
    store.set(key, "no hash")
    trip(worker)
    with pytest.raises(redis.RedisError):
        worker.exchange()
    assert worker.breaker.state is OPEN
