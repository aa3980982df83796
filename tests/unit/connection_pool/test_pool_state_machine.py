"""Every interleaving of callers, openings, ends and kills, tried against a model that is too simple to be wrong.

The state of a pool has no lock, thread or clock, so hypothesis may play everybody: it decides who does the next step,
how much time passes, which opening ends how, and who is killed after being handed a connection but before knowing.
"""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, precondition, rule

from service.errors import PoolClosedError, PoolExhaustedError
from service.pool_parts import Pooled, PoolLimits, Waiter
from service.pool_state import PoolState
from tests.unit.connection_pool.equations import assert_reconciled

MAX_IDLE, MAX_LIFETIME = 10.0, 30.0


@dataclass
class RefusedError(Exception):
    """What opening ends with."""

    number: int


class PoolMachine(RuleBasedStateMachine):
    """The model: who has asked and has no outcome, by ticket; where each connection is; what was closed."""

    callers = Bundle("callers")
    uses = Bundle("uses")

    def __init__(self) -> None:
        super().__init__()
        limits = PoolLimits(min_idle=1, max_size=3, max_waiting=2, max_idle=MAX_IDLE, max_lifetime=MAX_LIFETIME)
        self.state: PoolState[int] = PoolState(limits, name="model")
        self.state.is_open = True
        self.now = 1000.0
        self.numbers = itertools.count()
        self.opening: list[int] = []  # the generation of each opening under way
        self.asked: list[Waiter[int]] = []  # in the order of their arrival
        self.used: dict[int, Pooled[int]] = {}
        self.closed: set[int] = set()
        self.born: dict[int, float] = {}
        self.largest = 3

    # --- The model's questions

    def empty_handed(self) -> list[Waiter[int]]:
        return [each for each in self.asked if each.has_nothing()]

    def held(self) -> list[int]:
        return [each.pooled.connection for each in self.asked if each.pooled is not None] + list(self.used)

    @contextlib.contextmanager
    def handing_in_order(self):  # type: ignore[no-untyped-def]
        """Whoever gets something in this step has waited longest."""
        before = self.empty_handed()
        yield
        got = [each for each in before if each in self.asked and (each.pooled is not None or each.error is not None)]
        still = [each for each in before if each in self.empty_handed()]
        assert all(each.ticket < other.ticket for each in got for other in still)

    # --- Callers

    @rule(target=callers)
    def arrive(self):  # type: ignore[no-untyped-def]
        places = max(0, self.state.limits.max_size - len(self.held()))
        waiting = len(self.empty_handed())
        idle = self.state.stats(self.now).idle
        try:
            waiter = self.state.arrive(self.now, may_wait=True)
        except PoolClosedError:
            assert not self.state.is_open
            return multiple()
        except PoolExhaustedError:
            assert self.state.is_open
            assert waiting >= places + self.state.limits.max_waiting
            return multiple()
        assert self.state.is_open
        if waiter.pooled is not None:
            assert not waiting, "a newcomer has overtaken somebody"
            assert idle
        self.asked.append(waiter)
        return waiter

    @rule(target=uses, caller=consumes(callers))
    def go_on(self, caller: Waiter[int]):  # type: ignore[no-untyped-def]
        """A caller wakes and finds what it has; without anything, its time is up."""
        self.asked.remove(caller)
        if caller.error is not None:
            error = self.state.got_error(caller, self.now)
            assert isinstance(error, RefusedError | PoolClosedError)
            return multiple()
        if caller.pooled is None:
            self.state.timed_out(caller, self.now)
            return multiple()
        pooled = self.state.served(caller, self.now)
        assert pooled.connection not in self.used
        assert pooled.connection not in self.closed
        self.used[pooled.connection] = pooled
        return pooled.connection

    @rule(caller=consumes(callers), is_checking=st.booleans())
    def kill(self, caller: Waiter[int], is_checking: bool) -> None:
        connection = None if caller.pooled is None else caller.pooled.connection
        caller.is_checking = is_checking and connection is not None
        lost = self.state.counters.lost
        self.asked.remove(caller)
        with self.handing_in_order():
            self.state.cancelled(caller, self.now)
            self.state.cancelled(caller, self.now)  # a second time changes nothing
        assert self.state.counters.lost - lost == caller.is_checking

    @rule(target=callers, caller=consumes(callers))
    def fail_check(self, caller: Waiter[int]):  # type: ignore[no-untyped-def]
        if caller.pooled is not None:
            with self.handing_in_order():
                self.state.failed_check(caller, self.now)
        return caller

    # --- Uses

    @rule(connection=consumes(uses), is_good=st.booleans(), forgets=st.booleans())
    def end_use(self, connection: int, is_good: bool, forgets: bool) -> None:
        pooled = self.used.pop(connection)
        with self.handing_in_order():
            if forgets:
                self.state.abandoned(pooled)
            elif is_good:
                self.state.returned(pooled, self.now, 1.0)
            else:
                self.state.discarded(pooled, self.now, 1.0)
        old = pooled.generation != self.state.generation or self.now >= self.born[connection] + MAX_LIFETIME
        if forgets or not is_good or old or not self.state.is_open:
            assert connection in {each.connection for each in self.state.to_close}

    # --- Work outside the lock

    @rule()
    def begin_opening(self) -> None:
        if self.state.begin_opening(self.now):
            self.opening.append(self.state.generation)

    @precondition(lambda self: self.opening)
    @rule(data=st.data(), is_good=st.booleans())
    def end_opening(self, data: st.DataObject, is_good: bool) -> None:
        generation = self.opening.pop(data.draw(st.integers(0, len(self.opening) - 1)))
        number = next(self.numbers)
        waiting = len(self.empty_handed())
        with self.handing_in_order():
            if is_good:
                self.born[number] = self.now
                self.state.has_opened(number, generation, self.now)
            else:
                self.state.has_failed(RefusedError(number), self.now)
        if is_good and generation != self.state.generation:
            assert number in {each.connection for each in self.state.to_close}
        if not is_good:
            told = waiting - len(self.empty_handed())
            assert told == (waiting > len(self.opening))

    @precondition(lambda self: self.state.to_close)
    @rule()
    def close_one(self) -> None:
        pooled = self.state.to_close.popleft()
        assert pooled.connection not in self.closed
        assert pooled.connection not in self.held()
        self.closed.add(pooled.connection)
        self.state.has_closed()

    # --- Time and the operator

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 9.4, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def keeper_looks(self) -> None:
        self.state.retire_aged(self.now)
        for pooled in self.state._idle:
            assert self.now - pooled.rests_since < MAX_IDLE
            assert self.now < self.born[pooled.connection] + MAX_LIFETIME

    @rule(min_idle=st.integers(0, 2), more=st.integers(0, 3))
    def resize(self, min_idle: int, more: int) -> None:
        max_size = max(1, min_idle + more)
        self.largest = max(self.largest, max_size)
        self.state.resize(min_idle=min_idle, max_size=max_size)

    @rule()
    def drain(self) -> None:
        self.state.drain()
        assert self.state.stats(self.now).idle == 0

    @rule()
    @precondition(lambda self: self.now > 1040)  # not in each run's first steps
    def close(self) -> None:
        self.state.close()
        assert not self.empty_handed()

    # --- What holds after every step

    @invariant()
    def the_numbers_fit_together_and_those_of_the_model(self) -> None:
        stats = self.state.stats(self.now)
        assert_reconciled(stats)
        assert stats.lent == len(self.held())
        assert stats.opening == len(self.opening)
        assert stats.pending == len(self.asked)
        assert stats.waiting == len(self.empty_handed())
        assert [each.ticket for each in self.state.queue] == [each.ticket for each in self.empty_handed()]
        assert stats.size <= self.largest
        assert self.state.limits.max_size > 0

    @invariant()
    def a_connection_is_in_one_place(self) -> None:
        resting = [each.connection for each in self.state._idle]
        ending = [each.connection for each in self.state.to_close]
        places = self.held() + resting + ending
        assert len(places) == len(set(places))
        assert not set(places) & self.closed
        assert set(places) | self.closed == set(self.born)

    @invariant()
    def nobody_waits_while_a_place_is_free_and_nothing_is_under_way(self) -> None:
        stats = self.state.stats(self.now)
        if stats.waiting > stats.opening and stats.size < stats.max_size and self.state.is_open:
            assert self.state.is_work_due(self.now)

    @invariant()
    def who_has_something_is_awake_and_nobody_else(self) -> None:
        for each in self.asked:
            is_awake = each.wakes is None or each.wakes.is_set()
            assert is_awake != each.has_nothing() or isinstance(each.error, PoolClosedError)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # of a machine that does much else
)
