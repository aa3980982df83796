"""What everything that is asked of ElevenLabs has in common: it is repeated where that helps, and counted.

The key decision: a request is counted as its caller sees it: once, however often it was repeated, and together with
what it needs on the way. Only a signed URL is counted for itself too, because it is fetched ahead as well; what goes
wrong with one while a conversation waits for it is that conversation's error, and no error is counted twice, through
however many hands it goes. Speech is a success when its answer has come to its end, or its client did not want the
rest.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from contextvars import ContextVar
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from service import errors
from service.elevenlabs.fault_actions import FaultDomain, fault_of
from service.elevenlabs.speech import SpeechStream
from service.elevenlabs.speech_characters import tell_accepted, tell_spoken
from service.elevenlabs.transport import HttpAnswer
from service.errors import UpstreamProtocolError
from service.metrics_elevenlabs import (
    Operation,
    RequestOutcome,
    error_happened,
    request_answered,
    request_ended,
)
from service.retry import Retrier, with_retry

P = ParamSpec("P")
R = TypeVar("R")

OPERATIONS: dict[str, Operation] = {}
"""What a function that is `asked` is counted as: retriers know it by its name."""

_NOTHING = object()
_is_asking: ContextVar[bool] = ContextVar("is_asking", default=False)


class HasRetrier(Protocol):
    """Whose methods are `asked`."""

    retrier: Retrier


def _retrier_of(service: HasRetrier) -> Retrier:
    return service.retrier


def asked(operation: Operation, *, repeatable: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Retry a method by its object's `retrier` (see `with_retry`), and count what came of it in the end.

    A method that calls another one is what is counted. A generator is counted when it has its first item; what goes
    wrong with the others is counted as an error alone.
    """

    def decorate(method: Callable[P, R]) -> Callable[P, R]:
        OPERATIONS[method.__name__] = operation
        retried = with_retry(_retrier_of, repeatable=repeatable)(method)

        @functools.wraps(method)
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            return _count(operation, lambda: retried(*args, **kwargs))

        @functools.wraps(method)
        def counted_generator(*args: P.args, **kwargs: P.kwargs) -> Iterator[Any]:
            stream: Any = retried(*args, **kwargs)
            first = _count(operation, lambda: next(stream, _NOTHING), is_timed=False)
            if first is _NOTHING:
                return
            with closing(stream):
                yield first
                try:
                    yield from stream
                except Exception as exc:  # whatever it is, it is the caller's: it is counted and goes on
                    note_error(operation, exc)
                    raise

        return cast("Callable[P, R]", counted_generator) if inspect.isgeneratorfunction(method) else counted

    return decorate


def counted_part(operation: Operation, ask: Callable[[], R]) -> R:
    """Call `ask`, which may be a part of something that is asked: its error is then counted there."""
    begun = time.monotonic()
    try:
        result = ask()
    except Exception as exc:  # not a killed greenlet: whoever asked has left
        request_ended(operation, RequestOutcome.FAILURE)
        if not _is_asking.get():
            note_error(operation, exc)
        raise
    request_answered(operation, time.monotonic() - begun)
    request_ended(operation, RequestOutcome.SUCCESS)
    return result


def note_error(operation: Operation, exc: Exception) -> None:
    """Count an error, the first time that it is noted."""
    if vars(exc).get("is_counted", False):
        return
    vars(exc)["is_counted"] = True
    error_happened(operation, *fault_and_code(exc))


def fault_and_code(exc: Exception) -> tuple[FaultDomain, str]:
    """Whose fault it is, and a word for it."""
    fault = fault_of(exc)
    return fault.domain, _WORDS_OF_OURS.get(type(exc), fault.code)


_WORDS_OF_OURS: dict[type[Exception], str] = {
    errors.PoolTimeoutError: "pool_timeout",
    errors.PoolExhaustedError: "pool_exhausted",
    errors.LimiterTimeoutError: "limiter_timeout",
    errors.LimiterFullError: "limiter_full",
}
"""For errors that have none."""


def _count(operation: Operation, ask: Callable[[], R], *, is_timed: bool = True) -> R:
    if _is_asking.get():
        return ask()
    token = _is_asking.set(True)
    begun = time.monotonic()
    try:
        result = ask()
    except Exception as exc:  # not a killed greenlet: whoever asked has left
        request_ended(operation, RequestOutcome.FAILURE)
        note_error(operation, exc)
        raise
    finally:
        _is_asking.reset(token)
    if is_timed:  # the first item of a generator comes long after the answer has begun
        request_answered(operation, time.monotonic() - begun)
    if isinstance(result, SpeechStream):
        _follow(operation, result)
    else:
        request_ended(operation, RequestOutcome.SUCCESS)
    return result


# --- Speech


def _follow(operation: Operation, stream: SpeechStream) -> None:
    """Count it when it is over. The stream itself is not kept: one that is forgotten has to be found by nobody."""
    order = stream.order
    tell_accepted(order, stream.headers)

    def tell(answer: HttpAnswer) -> None:
        failure = answer.failure
        if failure is None and answer.is_complete and not answer.received:
            failure = UpstreamProtocolError("ElevenLabs answered without a sound.", code="no_audio")
        request_ended(operation, RequestOutcome.FAILURE if failure else RequestOutcome.SUCCESS)
        if failure is not None:
            note_error(operation, failure)
        tell_spoken(order, received=answer.received, is_whole=answer.is_complete)

    stream.follow(tell)
