"""Structured logs: one constant message plus fields, as JSON lines for machines or coloured text for people.

The key decisions:

* what must never be logged is removed by name here as the last line of defence; the first is that nobody passes chat
  text, audio, keys, headers or a URL's query to a logger at all;
* which request or conversation a line is about is no concern of who writes it: a `LogContext` goes with the thread
  (the greenlet, in a worker) and its fields go into every line. It can be changed, because a conversation learns its id
  from a message, and changes its leg, in callbacks of the event loop, which belong to no thread.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import structlog

P = ParamSpec("P")
R = TypeVar("R")
TraceIdOf = Callable[[str], str]

NEVER_LOGGED = frozenset(
    {
        "api_key",
        "authorization",
        "audio",
        "conversation_signature",
        "headers",
        "key",
        "password",
        "text",
        "ticket",
        "token",
        "transcript",
        "url",
        "xi-api-key",
    }
)

# Local variables hold keys and what people said; structlog's own choices show them.
_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))


@dataclass(slots=True)
class LogContext:
    """What every line about one request or conversation says; None: not known, or not the case.

    `leg` counts from 1. Whoever learns more of it writes it here.
    """

    request_id: str | None = None
    conversation_id: str | None = None
    leg: int | None = None


_context: ContextVar[LogContext | None] = ContextVar("vocero_log_context", default=None)


def begin_log_context(context: LogContext) -> None:
    """Let the lines of this thread carry `context` from now on, whatever they carried before."""
    _context.set(context)


def log_context() -> LogContext:
    """What the lines of this thread carry; where there is nothing yet, it begins empty."""
    context = _context.get()
    if context is None:
        context = LogContext()
        _context.set(context)
    return context


def with_log_context(function: Callable[P, R]) -> Callable[P, R]:
    """`function` for another thread, where its lines carry what those of this one do: `Thread(target=...)`."""
    context = _context.get()

    def carrying(*args: P.args, **kwargs: P.kwargs) -> R:
        _context.set(context)
        return function(*args, **kwargs)

    return carrying


def _with_context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = _context.get()
    if context is not None:
        if context.request_id is not None:
            event.setdefault("request_id", context.request_id)
        if context.conversation_id is not None:
            event.setdefault("conversation_id", context.conversation_id)
        if context.leg is not None:
            event.setdefault("leg", context.leg)
    return event


def _with_trace(trace_id_of: TraceIdOf) -> Any:
    """A step that adds the conversation's trace, for log stores that lead from a line to it."""

    def add_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        conversation_id = event.get("conversation_id")
        if isinstance(conversation_id, str):
            event.setdefault("trace_id", trace_id_of(conversation_id))
        return event

    return add_trace


def _without_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in NEVER_LOGGED.intersection(event):
        event[name] = "[not logged]"
    return event


def configure_logging(level: str, log_format: str, *, trace_id_of: TraceIdOf | None = None) -> None:
    """Send our logs and the libraries' warnings to standard error, in one shape.

    `level` and `log_format` are those of `service.config.Settings`; `trace_id_of` gives a conversation's trace, if
    there are traces.
    """
    first, last = _steps(log_format, trace_id_of)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*first, structlog.stdlib.PositionalArgumentsFormatter(), *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(library_formatter(log_format, trace_id_of=trace_id_of))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def log_uncaught(kind: type[BaseException] | None, error: BaseException | None, trace: Any, *, where: str) -> None:
    """A line about what nobody has caught, in place of a text on standard error; `where` names the thread."""
    if error is not None and not isinstance(error, SystemExit):
        structlog.get_logger(__name__).error("a thread failed", where=where, exc_info=(kind, error, trace))


def log_failing_threads() -> None:
    """Let what ends a thread unexpectedly be a line like all others. For an entry point: it is the whole process's."""

    def log_it(failed: threading.ExceptHookArgs) -> None:
        name = failed.thread.name if failed.thread is not None else ""
        log_uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback, where=name)

    threading.excepthook = log_it


def library_formatter(log_format: str, *, trace_id_of: TraceIdOf | None = None) -> logging.Formatter:
    """What gives the lines of a library, written with the standard library's `logging`, the shape of ours."""
    first, last = _steps(log_format, trace_id_of)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=first,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _steps(log_format: str, trace_id_of: TraceIdOf | None) -> tuple[list[Any], list[Any]]:
    """What is done with a line before its message is put together, and after."""
    first: list[Any] = [
        _with_context,
        *([] if trace_id_of is None else [_with_trace(trace_id_of)]),
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_secrets,
    ]
    if log_format == "json":
        return first, [_TRACEBACKS, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    return first, [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
