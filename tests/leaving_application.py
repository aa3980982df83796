"""A WSGI application whose requests are conversations: for gunicorn, in `service.wsgi`'s place.

`GET /talk?turn=1.5` has a place in the worker's registry until the worker leaves; its turn then takes so many seconds
more. The answer is how it ended: `drained` (with its hint), or the code of an end that came from outside.
`GET /readyz` tells whether the worker leaves, `GET /talks` how many go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from gevent import monkey

monkey.patch_all()

from service.config import load_settings  # noqa: E402
from service.conversation.draining import DrainTimes  # noqa: E402
from service.conversation.registry import ConversationRegistry  # noqa: E402
from service.errors import ServiceUnavailableError  # noqa: E402

settings = load_settings()
registry = ConversationRegistry(
    capacity=100,
    times=DrainTimes(turn_seconds=settings.drain_turn_seconds, spread_seconds=settings.reconnect_spread_seconds),
)


class Talk:
    """A conversation that goes on until somebody ends it."""

    def __init__(self, turn_seconds: float) -> None:
        self._turn_seconds = turn_seconds
        self._drains = threading.Event()
        self._over = threading.Event()
        self._answer = ""

    def run(self) -> str:
        with registry.place(self):
            self._drains.wait()
            self._over.wait(self._turn_seconds)
            return self._answer

    def drain(self, reconnect_in_seconds: float) -> None:
        self._answer = f"drained {reconnect_in_seconds}"
        self._drains.set()

    def end(self, code: int, _reason: str) -> None:
        self._answer = str(code)
        self._drains.set()
        self._over.set()


class LeavingApplication:
    """What gunicorn's hooks expect of the service, and no more."""

    extensions = {"vocero": SimpleNamespace(conversations=registry, close=lambda: None)}  # noqa: RUF012

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, body = "200 OK", "ok"
        if environ["PATH_INFO"] == "/readyz" and registry.is_draining:
            status, body = "503 Service Unavailable", "draining"
        elif environ["PATH_INFO"] == "/talks":
            body = str(len(registry))
        elif environ["PATH_INFO"] == "/talk":
            try:
                body = Talk(float(dict(parse_qsl(environ["QUERY_STRING"]))["turn"])).run()
            except ServiceUnavailableError:
                status, body = "503 Service Unavailable", "refused"
        start_response(status, [("Content-Length", str(len(body)))])
        return [body.encode()]


app = LeavingApplication()
