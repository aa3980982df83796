"""gunicorn's own lines (a worker that died, a request that is no HTTP) in the shape of all others.

The key decision: gunicorn writes with loggers of its own, in the master too, and quotes what it was sent: the address
with its query, which may hold a ticket, and a header that makes no sense, which may hold a key. Here it says what is
wrong and no more.
"""

from __future__ import annotations

from typing import Any

from gunicorn import glogging

from service.logs import library_formatter

_QUOTES_THE_CLIENT = "Invalid request from ip="


def log_class(log_format: str) -> type[glogging.Logger]:
    """gunicorn's `logger_class` for a `log_format` of `service.config.Settings`."""
    formatter = library_formatter(log_format)

    class GunicornLog(glogging.Logger):  # type: ignore[misc]  # gunicorn has no types
        def setup(self, cfg: Any) -> None:
            super().setup(cfg)
            for handler in self.error_log.handlers:
                handler.setFormatter(formatter)

        def warning(self, msg: str, *args: object, **kwargs: Any) -> None:
            super().warning(_without_quotation(msg), *args, **kwargs)

        def exception(self, msg: str, *args: object, **kwargs: Any) -> None:
            super().exception(msg, *map(_without_query, args), **kwargs)

    return GunicornLog


def _without_quotation(message: str) -> str:
    """`Invalid request from ip=ADDRESS: WHAT IS WRONG: THE QUOTATION` without the address and the quotation."""
    if not message.startswith(_QUOTES_THE_CLIENT):
        return message
    wrong = message.partition(": ")[2].partition(":")[0]
    return f"Invalid request ({wrong})"


def _without_query(value: object) -> object:
    return value.partition("?")[0] if isinstance(value, str) else value
