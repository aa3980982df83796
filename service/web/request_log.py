"""The outermost layer of the application: each request gets its id, and its line in the log.

The key decision: WSGI middleware and not Flask's hooks, because speech that succeeds never comes to Flask
(`speech.py`). The line is written when the answer begins, which is when the client is told the status; what comes after
that (a conversation, a long speech) has lines of its own, with the same id.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from service.logs import LogContext, begin_log_context

log = structlog.get_logger(__name__)

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]

REQUEST_ID_HEADER = "X-Request-ID"
REQUEST_ID = "vocero.request_id"
"""Where the id is in the WSGI environment."""

LONGEST_PATH = 200

_GIVEN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PROBES = frozenset({"/livez", "/readyz", "/version"})


class RequestLog:
    """Names the requests to `app`; `believes_given_ids`: a proxy of ours stands in front, and names them itself."""

    def __init__(self, app: WsgiApp, *, believes_given_ids: bool) -> None:
        self._app = app
        self._believes_given_ids = believes_given_ids

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As PEP 3333."""
        begun = time.monotonic()
        request_id = self._given_id(environ) or uuid.uuid4().hex
        environ[REQUEST_ID] = request_id
        begin_log_context(LogContext(request_id=request_id))  # a kept connection's thread has another request's
        told = 0

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal told
            told = int(status[:3])
            headers.append((REQUEST_ID_HEADER, request_id))
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        body = self._app(environ, start)
        if told:  # else it was an upgrade: what came of it has been told
            path = environ["PATH_INFO"]
            write = log.debug if path in _PROBES or path.startswith("/static/") else log.info
            seconds = round(time.monotonic() - begun, 4)
            write(
                "request answered",
                method=environ["REQUEST_METHOD"][:16], path=_shown(path), status=told, seconds=seconds,
            )  # fmt: skip
        return body

    def _given_id(self, environ: Environ) -> str | None:
        given = environ.get("HTTP_X_REQUEST_ID", "") if self._believes_given_ids else ""
        return given if _GIVEN_ID.fullmatch(given) else None


def _shown(path: str) -> str:
    """The path as a client wrote it, without what a terminal would take for an order."""
    path = path[:LONGEST_PATH]
    if path.isascii() and path.isprintable():
        return path
    # PEP 3333 hands bytes over as if they were Latin-1.
    text = path.encode("latin-1", "replace").decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
