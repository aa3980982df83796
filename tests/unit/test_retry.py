"""What `with_retry` repeats, when, how often, and what it leaves as it is."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import gevent
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from service.deadline import deadline, remaining_seconds
from service.errors import (
    RequestError,
    UpstreamBusyError,
    UpstreamConnectError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from service.retry import Outcome, Retrier, RetryEvent, RetryPolicy, commit_call, take_extra_attempt, with_retry
from service.retry_budget import RetryBudget
from tests.unit.retrying import FakeTime, make_retrier


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def busy(retry_after: float | None = None) -> UpstreamBusyError:
    return UpstreamBusyError("Busy.", code="system_busy", retry_after=retry_after)


def lost() -> UpstreamUnavailableError:
    return UpstreamUnavailableError("Lost.", code="connection_lost")


class Failing:
    """Fails with each of `errors` in turn, then returns "done"."""

    def __init__(self, *errors: BaseException) -> None:
        self.left = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            raise self.left.pop(0)
        return "done"


# --- Functions


def test_what_succeeds_is_called_once_and_its_arguments_and_result_pass(fake: FakeTime) -> None:
    calls = []

    @with_retry(make_retrier(fake))
    def speak(text: str, *, voice: str) -> str:
        """Speak."""
        calls.append((text, voice))
        return voice + text

    assert speak("b", voice="a") == "ab"
    assert (calls, fake.slept) == ([("b", "a")], [])
    assert (speak.__name__, speak.__doc__) == ("speak", "Speak.")


def test_a_method_is_retried_by_the_retrier_of_its_own_object(fake: FakeTime) -> None:
    class Service:
        def __init__(self, attempts: int) -> None:
            self.retrier = make_retrier(fake, attempts=attempts)
            self.calls = 0

        @with_retry(lambda self: self.retrier)
        def ask(self) -> None:
            self.calls += 1
            raise busy()

    one, three = Service(1), Service(3)
    for service in (one, three):
        with pytest.raises(UpstreamBusyError):
            service.ask()
    assert (one.calls, three.calls) == (1, 3)


def test_a_call_that_fails_twice_and_then_succeeds_gives_its_result(fake: FakeTime) -> None:
    call = Failing(busy(), UpstreamConnectError("Refused.", code="connect_failed"))
    assert make_retrier(fake).run(call, operation="ask") == "done"
    assert (call.calls, len(fake.slept)) == (3, 2)


def test_the_last_error_is_raised_as_it_is_and_without_the_first_as_its_context(fake: FakeTime) -> None:
    errors = [busy(), busy(), busy()]
    with pytest.raises(UpstreamBusyError) as caught:
        make_retrier(fake).run(Failing(*errors), operation="ask")
    assert caught.value is errors[2]
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


@pytest.mark.parametrize("error", [RequestError("No."), ValueError("no"), OSError(5, "no"), KeyboardInterrupt()])
def test_what_is_no_error_of_elevenlabs_is_never_repeated(fake: FakeTime, error: BaseException) -> None:
    for before in ([], [busy()]):
        call = Failing(*before, error, busy())
        with pytest.raises(type(error)) as caught:
            make_retrier(fake).run(call, operation="ask", repeatable=True)
        assert caught.value is error
        assert call.calls == len(before) + 1


def test_what_may_have_been_acted_on_is_repeated_only_if_it_is_declared_repeatable(fake: FakeTime) -> None:
    for repeatable, calls in ((False, 1), (True, 3)):
        call = Failing(lost(), lost(), lost(), lost())
        with pytest.raises(UpstreamUnavailableError):
            make_retrier(fake).run(call, operation="ask", repeatable=repeatable)
        assert call.calls == calls


@pytest.mark.parametrize("error", [lost(), busy(), UpstreamConnectError("Refused.", code="connect_failed")])
def test_a_call_that_has_committed_itself_is_not_repeated_whatever_it_declared(
    fake: FakeTime, error: UpstreamError
) -> None:
    call = Failing(busy(), error)

    def commit_then_fail() -> str:
        if call.calls == 1:
            commit_call()
        return call()

    with pytest.raises(type(error)):
        make_retrier(fake).run(commit_then_fail, operation="ask", repeatable=True)
    assert call.calls == 2
    commit_call()  # outside of a call it does nothing
    assert make_retrier(fake).run(Failing(busy()), operation="ask") == "done"


# --- Delays


def assert_even(delays: list[float], bound: float) -> None:
    """As botocore tests its own: of 10,000 delays, no tenth of the bound has a fifth more or less than its share."""
    buckets = Counter(int(delay / bound * 10) for delay in delays)
    assert len(delays) == 10_000
    assert set(buckets) == set(range(10))
    assert all(800 <= count <= 1_200 for count in buckets.values()), (bound, buckets)


@pytest.mark.parametrize(("repetition", "bound"), [(0, 0.5), (1, 1.0), (2, 2.0), (3, 3.0), (5_000, 3.0)])
def test_the_delays_are_spread_evenly_over_the_whole_of_a_bound_that_doubles(repetition: int, bound: float) -> None:
    retrier = Retrier(RetryPolicy(base_seconds=0.5, max_delay_seconds=3.0), budget=RetryBudget())
    assert_even([retrier.delay(repetition, None) for _ in range(10_000)], bound)


def test_what_is_slept_is_spread_so_too(fake: FakeTime) -> None:
    retrier = make_retrier(fake, base_seconds=0.5)
    with structlog.testing.capture_logs():
        for _ in range(10_000):
            retrier.run(Failing(busy()), operation="ask")
    assert_even(fake.slept, 0.5)


@pytest.mark.parametrize(("retry_after", "least"), [(None, 0.0), (0.0, 0.0), (1.0, 1.0), (-1.0, 0.0)])
def test_no_attempt_comes_before_the_time_that_elevenlabs_named(
    fake: FakeTime, retry_after: float | None, least: float
) -> None:
    retrier = make_retrier(fake, base_seconds=0.5)
    assert retrier.run(Failing(busy(retry_after)), operation="ask") == "done"
    assert least <= fake.slept[0] <= least + 0.5


def test_callers_who_are_told_the_same_time_do_not_come_back_together(fake: FakeTime) -> None:
    retrier = make_retrier(fake, base_seconds=0.5)
    for _ in range(100):
        retrier.run(Failing(busy(1.0)), operation="ask")
    assert len(set(fake.slept)) == 100


@pytest.mark.parametrize("retry_after", [30.0, 3600.0])
def test_a_time_past_the_deadline_is_not_waited_for(fake: FakeTime, retry_after: float) -> None:
    call, error = Failing(), busy(retry_after)
    call.left = [error]
    with pytest.raises(UpstreamBusyError) as caught:
        make_retrier(fake, total_seconds=30.0).run(call, operation="ask")
    assert caught.value is error
    assert (call.calls, fake.slept) == (1, [])


def test_sleeping_is_that_of_the_time_module_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """gevent replaces it after the import."""
    retrier = Retrier(RetryPolicy(), budget=RetryBudget())
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert retrier.run(Failing(busy()), operation="ask") == "done"
    assert len(slept) == 1


# --- The deadline


def test_attempts_end_with_the_deadline_and_the_last_error_is_raised(fake: FakeTime) -> None:
    errors: list[UpstreamError] = []

    def slow() -> None:
        fake.now += 0.9
        errors.append(busy())
        raise errors[-1]

    with pytest.raises(UpstreamBusyError) as caught:
        make_retrier(fake, attempts=10, total_seconds=2.0, base_seconds=0.2).run(slow, operation="ask")
    assert caught.value is errors[-1]
    assert len(errors) in (2, 3)
    assert fake.now - 1_000.0 <= 2.0 + 0.9


def test_an_attempt_knows_how_much_time_the_whole_call_has_left(fake: FakeTime) -> None:
    left = []

    def look() -> str:
        left.append(remaining_seconds())
        fake.now += 3.0
        if len(left) < 3:
            raise busy()
        return "done"

    make_retrier(fake, total_seconds=10.0).run(look, operation="ask")
    assert left[0] == 10.0
    assert left[1] == pytest.approx(7.0 - fake.slept[0])
    assert left[2] == pytest.approx(4.0 - sum(fake.slept))
    assert remaining_seconds() is None


def test_an_outer_deadline_that_comes_first_counts(fake: FakeTime) -> None:
    call = Failing(busy(5.0), busy())
    with deadline(4.0, clock=fake.clock), pytest.raises(UpstreamBusyError):
        make_retrier(fake, total_seconds=30.0).run(call, operation="ask")
    assert (call.calls, fake.slept) == (1, [])


# --- Retries inside of retries


def test_inside_of_a_retried_call_another_one_runs_once(fake: FakeTime) -> None:
    inner_calls, outer_calls = 0, 0
    outer, inner = make_retrier(fake), make_retrier(fake, attempts=5)

    @with_retry(inner)
    def fetch() -> None:
        nonlocal inner_calls
        inner_calls += 1
        raise busy()

    @with_retry(outer)
    def open_all() -> None:
        nonlocal outer_calls
        outer_calls += 1
        fetch()

    for round_number in (1, 2):  # the second time, the first has left nothing behind
        with pytest.raises(UpstreamBusyError):
            open_all()
        assert (outer_calls, inner_calls) == (3 * round_number, 3 * round_number)
    assert (outer.budget.stats().calls, inner.budget.stats().calls) == (2, 0)
    inner_calls = 0
    with pytest.raises(UpstreamBusyError):
        fetch()
    assert inner_calls == 5


@pytest.mark.parametrize("spawn", ["threads", "greenlets"])
def test_a_call_of_another_thread_or_greenlet_is_none_of_ours(fake: FakeTime, spawn: str) -> None:
    retrier = make_retrier(fake, total_seconds=10.0)
    seen: list[tuple[float | None, int]] = []

    def elsewhere() -> None:
        call = Failing(busy(), busy())
        seen.append((remaining_seconds(), 0))
        retrier.run(call, operation="elsewhere")
        seen.append((remaining_seconds(), call.calls))

    def run_it() -> None:
        if spawn == "threads":
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join(10)
        else:
            gevent.spawn(elsewhere).join(10)

    def here() -> float | None:
        run_it()
        return remaining_seconds()

    assert retrier.run(here, operation="here") is not None
    assert seen == [(None, 0), (None, 3)]


def test_greenlets_that_take_turns_keep_their_deadlines_apart(fake: FakeTime) -> None:
    seen: dict[float, list[float | None]] = {}

    def wait(total: float) -> None:
        def look() -> None:
            seen.setdefault(total, []).append(remaining_seconds())
            gevent.sleep(0)
            if len(seen[total]) < 3:
                raise busy()

        make_retrier(fake, total_seconds=total, base_seconds=1e-9).run(look, operation="ask")
        seen[total].append(remaining_seconds())

    gevent.joinall([gevent.spawn(wait, total) for total in (5.0, 50.0, 500.0)], timeout=10, raise_error=True)
    assert {total: [left and round(left) for left in found] for total, found in seen.items()} == {
        total: [total, total, total, None] for total in (5.0, 50.0, 500.0)
    }


# --- Generators


def make_stream(fake: FakeTime, body: Callable[[], Iterator[int]], **options: bool) -> Callable[[], Iterator[int]]:
    @with_retry(make_retrier(fake), **options)
    def stream() -> Iterator[int]:
        yield from body()

    return stream


def test_a_generator_is_retried_until_its_first_item_has_been_handed_out(fake: FakeTime) -> None:
    runs = 0

    def body() -> Iterator[int]:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise busy()
        yield from (1, 2, 3)

    stream = make_stream(fake, body)()
    assert runs == 0  # nothing before the first item is asked for
    assert list(stream) == [1, 2, 3]
    assert runs == 3


def test_a_generator_that_fails_after_its_first_item_is_not_retried(fake: FakeTime) -> None:
    runs, error = 0, busy()

    def body() -> Iterator[int]:
        nonlocal runs
        runs += 1
        yield 1
        raise error

    got = []
    with pytest.raises(UpstreamBusyError) as caught:
        got += list(make_stream(fake, body, repeatable=True)())
    assert caught.value is error
    assert (runs, fake.slept) == (1, [])


def test_a_generator_without_items_ends_at_once(fake: FakeTime) -> None:
    assert list(make_stream(fake, lambda: iter(()))()) == []


def test_the_reader_of_a_generator_is_not_inside_of_its_retry(fake: FakeTime) -> None:
    inside: list[float | None] = []

    def body() -> Iterator[int]:
        inside.append(remaining_seconds())
        yield 1
        inside.append(remaining_seconds())
        yield 2

    stream = make_stream(fake, body)()
    next(stream)
    assert remaining_seconds() is None
    call = Failing(busy(), busy())
    assert make_retrier(fake).run(call, operation="ask") == "done"  # a retry of its own, not one inside of another
    assert list(stream) == [2]
    assert inside == [30.0, None]


def test_a_generator_that_is_left_early_is_closed_at_once_also_from_another_greenlet(fake: FakeTime) -> None:
    closed = []

    def body() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    stream = make_stream(fake, body)()
    next(stream)
    gevent.spawn(stream.close).join(10)  # type: ignore[attr-defined]
    assert closed == [True]


def test_a_generator_whose_reader_fails_is_closed_before_the_failure_is_looked_at(fake: FakeTime) -> None:
    """Its frame lives on in the traceback, and with it whatever is only closed when nobody refers to it."""
    closed = []

    def body() -> Iterator[int]:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    stream = make_stream(fake, body)()
    next(stream)
    with pytest.raises(ZeroDivisionError) as caught:
        stream.throw(ZeroDivisionError())  # type: ignore[attr-defined]
    assert closed == [True]
    assert caught.traceback


# --- Counted, logged, bounded


def test_each_repetition_is_counted_and_told_and_so_is_why_there_was_none(fake: FakeTime) -> None:
    told: list[RetryEvent] = []
    budget = RetryBudget(share=0.0, minimum=3, clock=fake.clock)
    retrier = Retrier(RetryPolicy(), budget=budget, on_event=told.append, clock=fake.clock, sleep=fake.sleep)
    for _ in range(2):
        with pytest.raises(UpstreamBusyError):
            retrier.run(Failing(*[busy()] * 3), operation="ask")
    with pytest.raises(UpstreamBusyError):
        retrier.run(Failing(busy(3600.0)), operation="open")
    assert retrier.counts() == {
        ("ask", Outcome.REPEATED): 3,
        ("ask", Outcome.NO_ATTEMPT_LEFT): 1,
        ("ask", Outcome.NO_BUDGET_LEFT): 1,
        ("open", Outcome.NO_TIME_LEFT): 1,
    }
    assert [(event.outcome, event.attempt) for event in told] == [
        (Outcome.REPEATED, 1),
        (Outcome.REPEATED, 2),
        (Outcome.NO_ATTEMPT_LEFT, 3),
        (Outcome.REPEATED, 1),
        (Outcome.NO_BUDGET_LEFT, 2),
        (Outcome.NO_TIME_LEFT, 1),
    ]
    assert [event.delay_seconds for event in told if event.outcome is Outcome.REPEATED] == fake.slept


def test_the_log_has_numbers_and_names_and_no_word_of_the_call_or_of_the_answer(fake: FakeTime) -> None:
    error = UpstreamBusyError("You said: my card is 4711.", code="4711", type="4711", param="4711", status=429)

    @with_retry(make_retrier(fake))
    def speak(text: str, url: str) -> str:
        nonlocal error
        if error.status == 429:
            raised, error = error, lost()
            raise raised
        return text

    with structlog.testing.capture_logs() as lines:
        speak("my card is 4711", url="https://user:4711@host/?key=4711")
    assert [line["event"] for line in lines] == ["upstream call repeated"]
    assert lines[0] | {"delay_seconds": 0} == {
        "event": "upstream call repeated", "log_level": "warning", "operation": "speak", "attempt": 1,
        "delay_seconds": 0, "error": "UpstreamBusyError", "status": 429, "close_code": None,
    }  # fmt: skip
    assert "4711" not in repr(lines)


def test_a_total_outage_is_met_with_a_tenth_more_calls(fake: FakeTime) -> None:
    budget = RetryBudget(share=0.1, minimum=3, clock=fake.clock)
    # Ten threads' worth of time passes while one sleeps; here nobody waits, so all are within one window.
    retrier = Retrier(RetryPolicy(), budget=budget, clock=fake.clock, sleep=lambda _: None)
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise busy()

    for _ in range(1_000):
        with pytest.raises(UpstreamBusyError):
            retrier.run(fail, operation="ask")
    assert 1_000 < calls <= 1_000 + 100 + 3


def test_a_hedge_is_paid_for_by_the_budget_and_ends_all_repeating(fake: FakeTime) -> None:
    retrier = make_retrier(fake, budget=RetryBudget(share=0.0, minimum=2, clock=fake.clock))
    granted = []

    def hedge() -> None:
        granted.append(take_extra_attempt())
        raise busy()

    for calls in (1, 2, 3):
        with pytest.raises(UpstreamBusyError):
            retrier.run(hedge, operation="speak")
        assert len(granted) == calls  # although there was budget left after the first
    assert granted == [True, True, False]
    assert retrier.counts()["speak", Outcome.HEDGED] == 2
    assert take_extra_attempt() is False  # outside of a call


def test_with_one_attempt_there_is_no_hedge(fake: FakeTime) -> None:
    assert make_retrier(fake, attempts=1).run(take_extra_attempt, operation="speak") is False


# --- All of it together


@given(
    attempts=st.integers(1, 6),
    total=st.floats(0.1, 20),
    base=st.floats(0.001, 5),
    most=st.floats(0.001, 5),
    plan=st.lists(st.tuples(st.floats(0, 5), st.none() | st.floats(0, 10)), min_size=6, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_whatever_happens_its_bounds_are_kept(
    attempts: int,
    total: float,
    base: float,
    most: float,
    plan: list[tuple[float, float | None]],
    seed: int,
) -> None:
    fake = FakeTime()
    start = fake.now
    errors: list[UpstreamError] = []

    def fail() -> None:
        took, retry_after = plan[len(errors)]
        assert not errors or fake.now < start + total  # no attempt begins after the deadline
        fake.now += took
        errors.append(UpstreamTimeoutError("Late.", code="read_timeout", retry_after=retry_after))
        raise errors[-1]

    retrier = make_retrier(
        fake, seed=seed, attempts=attempts, total_seconds=total, base_seconds=base, max_delay_seconds=most
    )
    with pytest.raises(UpstreamTimeoutError) as caught:
        retrier.run(fail, operation="ask", repeatable=True)
    assert caught.value is errors[-1]
    assert len(fake.slept) == len(errors) - 1 < attempts
    for number, delay in enumerate(fake.slept):
        asked = plan[number][1] or 0.0
        assert asked <= delay <= asked + min(most, base * 2**number) + 1e-9
