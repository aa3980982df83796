"""Structured logs: one constant message plus fields, as JSON lines for machines or coloured text for people.

The key decision: what must never be logged is removed by name here as the last line of defence; the first is that
nobody passes chat text, audio, keys, headers or a URL's query to a logger at all.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

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


def _without_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in NEVER_LOGGED.intersection(event):
        event[name] = "[not logged]"
    return event


def configure_logging(level: str, log_format: str) -> None:
    """Send our logs and the libraries' warnings to standard error, in one shape.

    `level` and `log_format` are those of `service.config.Settings`.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_secrets,
    ]
    if log_format == "json":
        last: list[Any] = [_TRACEBACKS, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.PositionalArgumentsFormatter(), *last],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
