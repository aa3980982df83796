"""Each request gets its id, and its line in the log when it is answered: the path, never the query.

The key decision: an id that a proxy of ours gave is taken over, so that one request is one id in all logs; anybody
else's is not, because ids end up in the audit.
"""

from __future__ import annotations

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

from service.logs import LogContext, begin_log_context

log = structlog.get_logger(__name__)

HEADER = "X-Request-ID"
LONGEST_PATH = 200
_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_QUIET = frozenset({"static", "health.livez", "live.follow"})


def register(app: Flask, *, believes_given_ids: bool) -> None:
    """Name every request of `app` (`g.request_id`), before anything else looks at it."""

    @app.before_request
    def begin() -> None:
        given = request.headers.get(HEADER, "") if believes_given_ids else ""
        g.request_id = given if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        g.begun = time.monotonic()
        begin_log_context(LogContext(request_id=g.request_id))

    @app.after_request
    def end(response: Response) -> Response:
        response.headers[HEADER] = g.request_id
        write = log.debug if request.endpoint in _QUIET or "X-Fragment" in request.headers else log.info
        write(
            "request answered",
            method=request.method[:16],
            path=_shown(request.path),
            status=response.status_code,
            seconds=round(time.monotonic() - g.begun, 4),
        )
        return response


def _shown(path: str) -> str:
    """The path without what a terminal would take for an order."""
    shown = path[:LONGEST_PATH]
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shown)
