"""`with_retry`: repeat what failed, when that can help, harms nobody and is still of use.

The key decisions:

* the class of an error says whether its call may be repeated (`service.retry_effects`), and nothing else does;
* attempts, a total deadline and a budget that all calls of the process share bound it together, and inside of a
  retried call nothing is retried, so that attempts add up and never multiply;
* delays are drawn from the whole of [0, bound] ("full jitter": M. Brooker, "Exponential Backoff And Jitter", 2015), so
  that callers who failed together do not come back together;
* tenacity takes over at the first failure: what succeeds at once pays for a budget and a deadline only.
  docs/dependencies.md says why it is tenacity and not stamina.
"""

from __future__ import annotations

import functools
import inspect
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar, cast

import structlog
import tenacity

from service.deadline import Clock, Deadline, deadline
from service.errors import UpstreamError
from service.retry_budget import RetryBudget
from service.retry_effects import Effect, effect_of

__all__ = [
    "Outcome",
    "Retrier",
    "RetryEvent",
    "RetryPolicy",
    "commit_call",
    "take_extra_attempt",
    "with_retry",
]

log = structlog.get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


# --- How, and what came of it --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Bounds of one call: at most `attempts`, all within `total_seconds`.

    Before repetition number n (from 0) it waits between 0 and `min(max_delay_seconds, base_seconds * 2**n)` seconds,
    after those that ElevenLabs asked for.
    """

    attempts: int = 3
    total_seconds: float = 30.0
    base_seconds: float = 0.2
    max_delay_seconds: float = 2.0


class Outcome(StrEnum):
    """What became of the wish to repeat a call."""

    REPEATED = "repeated"
    HEDGED = "hedged"
    NO_ATTEMPT_LEFT = "no_attempt_left"
    NO_TIME_LEFT = "no_time_left"
    NO_BUDGET_LEFT = "no_budget_left"


@dataclass(frozen=True, kw_only=True)
class RetryEvent:
    """One wish to repeat a call after `attempt` attempts; `delay_seconds` is waited if `outcome` is REPEATED."""

    operation: str
    outcome: Outcome
    attempt: int
    delay_seconds: float = 0.0
    error: UpstreamError | None = None


class Retrier:
    """The policy and the budget that calls are repeated by; one serves any number of threads.

    `on_event` hears of every wish to repeat, in the calling thread. `clock`, `sleep` and `uniform` are those of `time`
    and `random` unless given.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        budget: RetryBudget,
        on_event: Callable[[RetryEvent], None] | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], None] | None = None,
        uniform: Callable[[float, float], float] | None = None,
    ) -> None:
        self.policy = policy
        self.budget = budget
        self.clock = clock
        self.sleep = sleep or _sleep
        self._on_event = on_event
        self._uniform = uniform or random.uniform
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, Outcome]] = Counter()

    def run(self, call: Callable[[], R], *, operation: str, repeatable: bool = False) -> R:
        """Call `call`, again if that may help; within another `run` just once. `operation` is its name in the log.

        `repeatable` says that nothing is lost if it is acted on twice, up to where it says `commit_call`.

        Raises:
            UpstreamError: the last one, as it was raised.
        """
        if _current.get() is not None:
            return call()
        self.budget.note_call()
        with deadline(self.policy.total_seconds, clock=self.clock) as whole:
            current = _Call(self, operation, whole, repeatable=repeatable)
            token = _current.set(current)
            try:
                return current.make(call)
            finally:
                _current.reset(token)

    def delay(self, repetition: int, retry_after: float | None) -> float:
        """Seconds to wait before `repetition` (from 0): never less than `retry_after`, and never all callers alike."""
        policy = self.policy
        bound = min(policy.max_delay_seconds, policy.base_seconds * 2.0 ** min(repetition, 64))
        return max(0.0, retry_after or 0.0) + self._uniform(0.0, bound)

    def note(self, event: RetryEvent) -> None:
        """Count an event and tell of it."""
        with self._lock:
            self._counts[event.operation, event.outcome] += 1
        if self._on_event is not None:
            self._on_event(event)

    def counts(self) -> Mapping[tuple[str, Outcome], int]:
        """How often each outcome came, by operation, since the start."""
        with self._lock:
            return dict(self._counts)


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


# --- The decorator -------------------------------------------------------------------------------------------------


def with_retry(
    retrier: Retrier | Callable[[Any], Retrier], *, repeatable: bool = False, operation: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Retry a function by `retrier`, or a method by the one that `retrier` finds on its `self`; see `Retrier.run`.

    A generator function is retried until its first item has been handed out; what comes after that is passed on as it
    comes, without deadline. It is for iterating: what is sent into it before the second item is lost.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = operation or function.__name__

        def run(call: Callable[[], Any], args: tuple[Any, ...]) -> Any:
            found = retrier if isinstance(retrier, Retrier) else retrier(args[0])
            return found.run(call, operation=name, repeatable=repeatable)

        @functools.wraps(function)
        def retried(*args: P.args, **kwargs: P.kwargs) -> R:
            return cast("R", run(lambda: function(*args, **kwargs), args))

        @functools.wraps(function)
        def retried_generator(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            def open_stream() -> tuple[Any, Any]:
                stream: Any = function(*args, **kwargs)
                return stream, next(stream, _NOTHING)

            stream, first = run(open_stream, args)
            if first is not _NOTHING:
                with closing(stream):
                    yield first
                    yield from stream

        return cast("Callable[P, R]", retried_generator) if inspect.isgeneratorfunction(function) else retried

    return decorate


_NOTHING = object()


# --- One call ------------------------------------------------------------------------------------------------------


def commit_call() -> None:
    """Say that what follows in the retried call that this runs in may be acted on: it is not repeated any more."""
    current = _current.get()
    if current is not None:
        current.commit()


def take_extra_attempt() -> bool:
    """Whether the retried call that this runs in may send one more request beside the one under way (a hedge).

    The budget pays for it, and the call is not repeated any more: either hedged or retried, never both.
    """
    current = _current.get()
    return current is not None and current.take_extra()


_HARMLESS = frozenset({Effect.NEVER_SENT, Effect.THROTTLED})
_HARMLESS_AND_REPEATABLE = _HARMLESS | {Effect.UNSAFE}
_NOTHING_ANY_MORE: frozenset[Effect] = frozenset()


class _Call:
    """One call by its `Retrier`: the answers to what tenacity asks."""

    def __init__(self, retrier: Retrier, operation: str, whole: Deadline, *, repeatable: bool) -> None:
        self._retrier = retrier
        self._operation = operation
        self._whole = whole
        self._wanted = _HARMLESS_AND_REPEATABLE if repeatable else _HARMLESS
        self._made = 1

    def make(self, call: Callable[[], R]) -> R:
        """As `Retrier.run`."""
        try:
            return call()
        except UpstreamError as exc:
            first = exc
        # Outside of the handler, so that the last error does not get the first as its context.
        try:
            return self._repeat(call, first)
        finally:
            del first  # its traceback holds this frame

    def _repeat(self, call: Callable[[], R], first: UpstreamError) -> R:
        attempts = tenacity.Retrying(
            retry=self._is_wanted,
            wait=self._delay,
            stop=self._is_over,
            before_sleep=self._tell,
            sleep=self._retrier.sleep,
            reraise=True,
        )
        for attempt in attempts:
            with attempt:
                if attempt.retry_state.attempt_number == 1:
                    raise first
                return call()
        raise AssertionError("tenacity raises the last error")

    def commit(self) -> None:
        """As `commit_call`."""
        self._wanted = _NOTHING_ANY_MORE

    def take_extra(self) -> bool:
        """As `take_extra_attempt`."""
        outcome = Outcome.HEDGED
        if self._made >= self._retrier.policy.attempts:
            outcome = Outcome.NO_ATTEMPT_LEFT
        elif not self._retrier.budget.take():
            outcome = Outcome.NO_BUDGET_LEFT
        else:
            self.commit()
        self._retrier.note(RetryEvent(operation=self._operation, outcome=outcome, attempt=self._made))
        return outcome is Outcome.HEDGED

    def _is_wanted(self, state: tenacity.RetryCallState) -> bool:
        error = _error_of(state)
        return isinstance(error, UpstreamError) and effect_of(error) in self._wanted

    def _delay(self, state: tenacity.RetryCallState) -> float:
        return self._retrier.delay(state.attempt_number - 1, _upstream_error_of(state).retry_after)

    def _is_over(self, state: tenacity.RetryCallState) -> bool:
        self._made = state.attempt_number
        outcome = None
        if self._made >= self._retrier.policy.attempts:
            outcome = Outcome.NO_ATTEMPT_LEFT
        elif state.upcoming_sleep >= self._whole.remaining():
            outcome = Outcome.NO_TIME_LEFT
        elif not self._retrier.budget.take():
            outcome = Outcome.NO_BUDGET_LEFT
        if outcome is not None:
            self._note(outcome, state)
        return outcome is not None

    def _tell(self, state: tenacity.RetryCallState) -> None:
        self._note(Outcome.REPEATED, state)
        error = _upstream_error_of(state)
        # Not its message and not its code: both are words of ElevenLabs', which may quote the request.
        log.warning(
            "upstream call repeated",
            operation=self._operation,
            attempt=state.attempt_number,
            delay_seconds=round(state.upcoming_sleep, 3),
            error=type(error).__name__,
            status=error.status,
            close_code=error.close_code,
        )
        self._made = state.attempt_number + 1

    def _note(self, outcome: Outcome, state: tenacity.RetryCallState) -> None:
        self._retrier.note(
            RetryEvent(
                operation=self._operation,
                outcome=outcome,
                attempt=state.attempt_number,
                delay_seconds=state.upcoming_sleep,
                error=_upstream_error_of(state),
            )
        )


_current: ContextVar[_Call | None] = ContextVar("retried_call", default=None)


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return None if state.outcome is None else state.outcome.exception()


def _upstream_error_of(state: tenacity.RetryCallState) -> UpstreamError:
    return cast("UpstreamError", _error_of(state))
