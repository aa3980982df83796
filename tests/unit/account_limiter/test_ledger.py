"""The script's rules against a model that says the same in Python, over long random histories.

The script reads Redis's clock and takes no other one. Here its text has one line replaced, so that the clock is a key
of the test's: nothing of that is in what runs in production, and no time goes by in these histories.
"""

from __future__ import annotations

import functools
import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from service.account_limiter.ledger import Answer, Ledger, Report, Terms

CLOCK = "test:limiter-clock"
TTL, PATIENCE = 900, 300
CAP, RESERVED = 5, 2
WORKERS = 3
MAX_WAITING = 6


def terms(**changes: Any) -> Terms:
    standard = {
        "cap": CAP, "follows_plan": False, "reserved_share": RESERVED / CAP, "workers": WORKERS,
        "max_waiting": MAX_WAITING, "ttl_seconds": TTL / 1000, "patience_seconds": PATIENCE / 1000,
        "quiet_seconds": 10.0, "settling_seconds": 1.0,
    }  # fmt: skip
    return Terms(**{**standard, **changes})


class ClockedLedger(Ledger):
    """A ledger whose clock is set by the test, in milliseconds."""

    def set_clock(self, milliseconds: int) -> None:
        self._store.hset(CLOCK, mapping={"s": milliseconds // 1000, "us": milliseconds % 1000 * 1000})

    def forget(self) -> None:
        """What FLUSHALL does to this ledger."""
        self._store.delete(*self._keys)

    def restart(self, report: Report) -> Answer:
        """The first call after the server has begun anew from what it had saved."""
        self.next_is_first = True
        return self.exchange(report)

    next_is_first = False

    def _run(self, ask: dict[str, Any]) -> Any:
        first, self.next_is_first = self.next_is_first, False
        return super()._run({**ask, "restarted": True} if first else ask)

    @functools.cached_property
    def _text(self) -> str:
        text = Ledger._text.func(self)
        assert text.count("redis.call('TIME')") == 1
        return text.replace("redis.call('TIME')", f"redis.call('HMGET', '{CLOCK}', 's', 'us')")


@pytest.fixture
def store(valkey: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey) as found:
        yield found


def ledger_of(store: redis.Redis, **changes: Any) -> ClockedLedger:
    ledger = ClockedLedger(store, name=f"test-{secrets.token_hex(8)}", terms=terms(**changes))
    ledger.set_clock(1_000_000)
    return ledger


def roll_called(ledger: ClockedLedger, workers: int = WORKERS) -> int:
    """Let every process answer the roll of the first epoch, which ends its grace; the result is the epoch."""
    epoch = ledger.exchange(Report(member="first")).account.epoch
    for number in range(workers):
        ledger.exchange(Report(member=f"m{number}", epoch=epoch))
    return epoch


# --- The machine


@dataclass
class Process:
    """One that obeys: it believes in a lease for one TTL from its last renewal, and not a moment longer."""

    name: str
    epoch: int = 0
    is_survivor: bool = False
    held: dict[str, tuple[int, int]] = field(default_factory=dict)  # id to (fence, valid until)
    waiting: dict[str, int] = field(default_factory=dict)  # id to place


class Accounts(RuleBasedStateMachine):
    """Three processes, one ledger, and what the ledger must say."""

    store: ClassVar[redis.Redis]

    def __init__(self) -> None:
        super().__init__()
        self.ledger = ledger_of(self.store)
        self.now = 1_000_000
        self.processes = [Process(f"p{number}") for number in range(WORKERS)]
        self.count = 0
        self.last_number = 0
        self.forget()

    def forget(self) -> None:
        self.knows_epoch = False
        self.grace_ends = math.inf
        self.held: dict[str, int] = {}  # id to when it runs out
        self.queue: dict[str, int] = {}  # id to place
        self.deadlines: dict[str, int] = {}
        self.roll: set[tuple[str, bool]] = set()
        self.granted: list[str] = []

    # --- What happens

    @rule(process=st.integers(0, WORKERS - 1), priority=st.integers(1, 3), may_wait=st.booleans())
    def asks(self, process: int, priority: int, may_wait: bool) -> None:
        self.count += 1
        id = f"{priority}:{self.count}"
        self.exchange(self.processes[process], new=id, may_wait=may_wait)

    @rule(process=st.integers(0, WORKERS - 1))
    def beats(self, process: int) -> None:
        self.exchange(self.processes[process], is_full=True)

    @rule()
    def all_beat(self) -> None:
        for process in self.processes:
            self.exchange(process, is_full=True)

    @rule(process=st.integers(0, WORKERS - 1), data=st.data())
    def ends_one(self, process: int, data: st.DataObject) -> None:
        mine = self.processes[process]
        ids = sorted([*mine.held, *mine.waiting])
        if ids:
            id = data.draw(st.sampled_from(ids))
            mine.held.pop(id, None)
            mine.waiting.pop(id, None)
            self.exchange(mine, released=id)

    @rule(milliseconds=st.sampled_from([1, 100, PATIENCE - 1, PATIENCE, 2 * PATIENCE, TTL - 1, TTL, TTL + 1]))
    def time_goes_by(self, milliseconds: int) -> None:
        self.now += milliseconds
        self.ledger.set_clock(self.now)

    def time_goes_by_a_little(self) -> None:
        self.now += 1
        self.ledger.set_clock(self.now)

    @precondition(lambda self: self.knows_epoch)
    @rule()
    def redis_is_flushed(self) -> None:
        self.ledger.forget()
        self.forget()
        self.time_goes_by_a_little()

    @rule(process=st.integers(0, WORKERS - 1))
    def dies_and_another_takes_its_place(self, process: int) -> None:
        self.count += 1
        self.processes[process] = Process(f"p{self.count}-new")

    # --- What must hold

    @invariant()
    def no_more_believe_to_hold_one_than_there_are(self) -> None:
        valid = self.believed()
        assert len(valid) <= CAP
        assert sum(not id.startswith("1:") for id in valid) <= CAP - RESERVED

    def believed(self) -> list[str]:
        pairs = ((id, until) for process in self.processes for id, (_, until) in process.held.items())
        return [id for id, until in pairs if self.now < until]

    # --- The same in Python

    def exchange(
        self, process: Process, *, new: str = "", released: str = "", is_full: bool = False, may_wait: bool = True
    ) -> None:
        process.held = {id: pair for id, pair in process.held.items() if self.now < pair[1]}
        held = [(id, fence) for id, (fence, _) in process.held.items()] if is_full else []
        waiting = [(new, 0)] if new else list(process.waiting.items())
        answer = self.ledger.exchange(
            Report(
                released=[(released, -1)] if released else [],
                held=held,
                waiting=waiting,
                may_wait=may_wait,
                member=process.name if is_full else "",
                epoch=process.epoch,
                is_survivor=process.is_survivor,
            )
        )
        self.expect(process, answer, held=held, waiting=waiting, released=released, is_full=is_full, may_wait=may_wait)
        if is_full and answer.account.epoch != process.epoch:
            process.is_survivor, process.epoch = process.epoch != 0, answer.account.epoch

    def expect(
        self,
        process: Process,
        answer: Answer,
        *,
        held: list[tuple[str, int]],
        waiting: list[tuple[str, int]],
        released: str,
        is_full: bool,
        may_wait: bool,
    ) -> None:
        if not self.knows_epoch:
            self.knows_epoch, self.grace_ends = True, self.now + TTL
        self.expire()
        for registry in (self.held, self.queue, self.deadlines):
            registry.pop(released, None)
        for (id, fence), said in zip(held, answer.held, strict=True):
            if id in self.held or self.now < self.grace_ends:
                assert said == fence
                self.held[id] = self.now + TTL
                self.drop_waiter(id)
                process.held[id] = fence, self.now + TTL
            else:
                assert said == 0
                del process.held[id]
        if is_full and process.epoch == answer.account.epoch:
            self.answer_roll(process)
        for (id, place), (_, said_place) in zip(waiting, answer.waiting, strict=True):
            if id not in self.held:
                if id not in self.queue:
                    self.queue[id] = place or self.number(said_place)
                assert self.queue[id] == said_place
                self.deadlines[id] = self.now + PATIENCE
        self.grant({id for id, _ in waiting})
        for (id, _), (verdict, place) in zip(waiting, answer.waiting, strict=True):
            self.expect_verdict(process, id, verdict, place, is_new=process.waiting.get(id, 0) == 0, may_wait=may_wait)
        assert sum(answer.account.held) == len(self.held)
        assert sum(answer.account.waiting) == len(self.queue)

    def expect_verdict(
        self, process: Process, id: str, verdict: int, place: int, *, is_new: bool, may_wait: bool
    ) -> None:
        if id in self.held:
            assert verdict > 0
            self.held[id] = self.now + TTL
            process.waiting.pop(id, None)
            process.held[id] = verdict, self.now + TTL
            return
        ahead = [other for other in self.queue if self.turn(other) < self.turn(id)]
        if not may_wait:
            assert verdict == -len(ahead) - 1
            self.drop_waiter(id)
        elif is_new and len(self.queue) > MAX_WAITING:
            assert verdict == 0
            self.drop_waiter(id)
        else:
            assert verdict == -len(ahead) - 1
            process.waiting[id] = place

    def expire(self) -> None:
        self.held = {id: ends for id, ends in self.held.items() if self.now < ends}
        for id in [id for id, ends in self.deadlines.items() if self.now >= ends]:
            self.drop_waiter(id)

    def answer_roll(self, process: Process) -> None:
        self.roll.add((process.name, process.is_survivor))
        survivors = sum(is_survivor for _, is_survivor in self.roll)
        newcomers = len(self.roll) - survivors
        if survivors >= WORKERS or (not survivors and newcomers >= WORKERS):
            self.grace_ends = min(self.grace_ends, self.now)

    def grant(self, present: set[str]) -> None:
        if self.now < self.grace_ends:
            return
        for id in sorted(self.queue, key=self.turn):
            others = sum(not held.startswith("1:") for held in self.held)
            has_room = id.startswith("1:") or others < CAP - RESERVED
            if len(self.held) < CAP and has_room:
                self.held[id] = self.now + TTL if id in present else self.deadlines[id]
                self.drop_waiter(id)

    def turn(self, id: str) -> tuple[str, int]:
        return id[0], self.queue[id]

    def drop_waiter(self, id: str) -> None:
        self.queue.pop(id, None)
        self.deadlines.pop(id, None)

    def number(self, place: int) -> int:
        assert place > self.last_number
        self.last_number = place
        return place


def test_the_ledger_does_in_every_history_what_the_model_does(store: redis.Redis) -> None:
    Accounts.store = store
    run_state_machine_as_test(Accounts, settings=settings(max_examples=150, stateful_step_count=40, deadline=None))


# --- What the machine leaves out


def test_a_repeated_question_finds_what_the_first_one_was_given(store: redis.Redis) -> None:
    ledger = ledger_of(store)
    roll_called(ledger)
    question = Report(waiting=[("1:a", 0)])
    first, again = (ledger.exchange(question).waiting[0][0] for _ in range(2))
    assert first == again > 0
    assert ledger.exchange(question).account.held == (1, 0, 0)


def test_fences_and_places_rise_also_across_a_flush(store: redis.Redis) -> None:
    ledger = ledger_of(store)
    roll_called(ledger)
    before = [ledger.exchange(Report(waiting=[(f"1:{n}", 0)])).waiting[0][0] for n in range(3)]
    ledger.forget()
    ledger.set_clock(1_000_001)
    roll_called(ledger)
    after = [ledger.exchange(Report(waiting=[(f"1:{n}-new", 0)])).waiting[0][0] for n in range(3)]
    assert before + after == sorted({*before, *after})


def test_a_server_that_begins_anew_grants_nothing_until_everybody_has_spoken(store: redis.Redis) -> None:
    ledger = ledger_of(store, workers=2)
    epoch = roll_called(ledger, 2)
    fence = ledger.exchange(Report(waiting=[("1:old", 0)])).waiting[0][0]
    ledger.set_clock(1_000_100)
    assert ledger.restart(Report(waiting=[("1:new", 0)])).waiting[0][0] == -1
    new_epoch = ledger.exchange(Report(member="m0", epoch=epoch, is_survivor=True)).account.epoch
    assert new_epoch > epoch
    ledger.exchange(Report(member="m0", epoch=new_epoch, is_survivor=True, held=[("1:old", fence)]))
    assert ledger.exchange(Report(waiting=[("1:new", 1)])).waiting[0][0] == -1
    ledger.exchange(Report(member="m1", epoch=new_epoch, is_survivor=True))
    assert ledger.exchange(Report(waiting=[("1:new", 1)])).waiting[0][0] > fence


def test_a_second_restart_within_the_grace_prolongs_it_and_keeps_the_roll(store: redis.Redis) -> None:
    ledger = ledger_of(store, workers=2)
    epoch = ledger.exchange(Report(member="m0")).account.epoch
    ledger.exchange(Report(member="m0", epoch=epoch))
    ledger.set_clock(1_000_500)
    again = ledger.restart(Report(member="m1", epoch=epoch))
    assert again.account.epoch == epoch
    assert again.account.grace_seconds == 0


def test_refusals_that_come_together_halve_the_limit_once(store: redis.Redis) -> None:
    ledger = ledger_of(store, cap=20)
    roll_called(ledger)
    limits = []
    for milliseconds in (0, 100, 900, 1000, 2000, 3000, 4000, 5000):
        ledger.set_clock(2_000_000 + milliseconds)
        limits.append(ledger.exchange(Report(refused=True)).account.limit)
    assert limits == [10, 10, 10, 5, 2, 1, 1, 1]


def test_a_halved_limit_grows_by_one_for_each_quiet_window_up_to_the_plan(store: redis.Redis) -> None:
    ledger = ledger_of(store, cap=8)
    roll_called(ledger)
    ledger.set_clock(2_000_000)
    ledger.exchange(Report(refused=True))
    limits = []
    for seconds in (9.9, 10, 19.9, 20, 35, 500):
        ledger.set_clock(2_000_000 + round(seconds * 1000))
        limits.append(ledger.exchange(Report()).account.limit)
    assert limits == [4, 5, 5, 6, 7, 8]


def test_a_plan_below_the_configured_cap_counts_and_one_above_it_does_not(store: redis.Redis) -> None:
    ledger = ledger_of(store, cap=10)
    roll_called(ledger)
    seen = [ledger.exchange(Report(maximum=maximum)).account for maximum in (4, 0, 30)]
    assert [(account.plan, account.limit) for account in seen] == [(4, 4), (4, 4), (10, 10)]


def test_a_cap_that_follows_the_plan_rises_with_it(store: redis.Redis) -> None:
    ledger = ledger_of(store, cap=2, follows_plan=True)
    roll_called(ledger)
    assert [ledger.exchange(Report(maximum=maximum)).account.limit for maximum in (0, 30)] == [2, 30]


def test_a_plan_that_is_learned_anew_does_not_undo_a_refusal(store: redis.Redis) -> None:
    ledger = ledger_of(store, cap=10)
    roll_called(ledger)
    ledger.set_clock(2_000_000)
    ledger.exchange(Report(refused=True))
    assert ledger.exchange(Report(maximum=9)).account.limit == 5
    assert ledger.exchange(Report(maximum=3)).account.limit == 3


@pytest.mark.parametrize(("cap", "share", "reserved"), [(1, 1.0, 0), (2, 0.2, 1), (10, 0.2, 2), (10, 0.0, 0)])
def test_the_reserved_share_is_rounded_up_and_never_all(
    store: redis.Redis, cap: int, share: float, reserved: int
) -> None:
    ledger = ledger_of(store, cap=cap, reserved_share=share)
    assert ledger.exchange(Report()).account.reserved == reserved


def test_a_lease_that_ran_out_is_lost_even_if_its_holder_does_not_think_so(store: redis.Redis) -> None:
    ledger = ledger_of(store, cap=1)
    roll_called(ledger)
    fence = ledger.exchange(Report(waiting=[("1:slept", 0)])).waiting[0][0]
    ledger.set_clock(1_000_000 + TTL)
    assert ledger.exchange(Report(waiting=[("1:next", 0)])).waiting[0][0] > fence
    answer = ledger.exchange(Report(held=[("1:slept", fence)]))
    assert list(answer.held) == [0]
    assert answer.account.held == (1, 0, 0)


def test_a_process_that_died_cannot_complete_the_roll_by_its_successor(store: redis.Redis) -> None:
    ledger = ledger_of(store, workers=2)
    epoch = ledger.exchange(Report(member="survivor", epoch=1)).account.epoch
    for member, is_survivor in (("survivor", True), ("new", False), ("newer", False)):
        answer = ledger.exchange(Report(member=member, epoch=epoch, is_survivor=is_survivor))
        assert answer.account.grace_seconds > 0
    assert ledger.exchange(Report(member="late", epoch=epoch, is_survivor=True)).account.grace_seconds == 0


def test_what_was_held_while_redis_was_gone_is_entered_even_above_the_limit(store: redis.Redis) -> None:
    ledger = ledger_of(store, cap=1)
    roll_called(ledger)
    ledger.exchange(Report(waiting=[("1:a", 0)]))
    answer = ledger.exchange(Report(held=[("1:static", 0), ("1:carried", 77)], carries=True))
    assert min(answer.held) > 0
    assert answer.account.held == (3, 0, 0)
    ledger.exchange(Report(released=[("1:a", 10), ("1:static", 10)]))
    assert ledger.exchange(Report(waiting=[("1:next", 0)])).waiting[0][0] < 0


def test_the_mean_length_of_leases_is_told_once_three_have_ended(store: redis.Redis) -> None:
    ledger = ledger_of(store)
    means = [ledger.exchange(Report(released=[(f"1:{n}", 1000 * (n + 1))])).account.mean_seconds for n in range(4)]
    assert means == [None, None, 2.0, 2.5]


def test_all_keys_of_a_ledger_are_in_one_slot_of_a_cluster(store: redis.Redis) -> None:
    name = f"test-{secrets.token_hex(8)}"
    Ledger(store, name=name, terms=terms()).exchange(Report(waiting=[("1:a", 0)], released=[("1:b", 5)]))
    keys = [key.decode() for key in store.scan_iter(f"*{name}*")]
    assert keys
    assert {key.partition("{")[2].partition("}")[0] for key in keys} == {name}
