"""A WSGI application whose requests are conversations: for gunicorn, in `service.wsgi`'s place.

`GET /talk?turn=1.5` has a place in the worker's registry until the worker leaves; its turn then takes so many seconds
more. The answer is how it ended: `drained` (with its hint), or the code of an end that came from outside.
`GET /readyz` tells whether the worker leaves, `GET /talks` how many go on, `GET /who` the process id.

While it starts, a worker waits as long as there is a file `hold` in the folder TESTS_STARTS. Then it fails if there is
one that is called `refuse` (a mistake of the operator's), `wrong` (a variable), `crash` (a bug), or `crash-once`, which
it takes along.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from gevent import monkey

monkey.patch_all()

from scripts.launcher.waiting import wait_until  # noqa: E402
from service.config import load_settings  # noqa: E402
from service.conversation.draining import DrainTimes  # noqa: E402
from service.conversation.registry import ConversationRegistry  # noqa: E402
from service.errors import ConfigurationError, ServiceUnavailableError, SettingsError  # noqa: E402

settings = load_settings()
registry = ConversationRegistry(
    capacity=100,
    times=DrainTimes(turn_seconds=settings.drain_turn_seconds, spread_seconds=settings.reconnect_spread_seconds),
)


LONGEST_HOLD_SECONDS = 120.0


def start_as_told(folder: Path) -> None:
    """Wait, and fail, as the files there say."""
    wait_until(lambda: not (folder / "hold").exists(), LONGEST_HOLD_SECONDS, "being let go")
    if (folder / "refuse").exists():
        raise ConfigurationError("VOCERO_SOMETHING: as the test wants it.")
    if (folder / "wrong").exists():
        raise SettingsError("VOCERO_SOMETHING: as the test wants it.")
    try:
        (folder / "crash-once").unlink()
    except FileNotFoundError:
        if not (folder / "crash").exists():
            return
    raise RuntimeError("as the test wants it")


if "TESTS_STARTS" in os.environ:
    start_as_told(Path(os.environ["TESTS_STARTS"]))


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

    extensions = {  # noqa: RUF012
        "vocero": SimpleNamespace(
            conversations=registry, speech_sockets=SimpleNamespace(drain=lambda: None), close=lambda: None
        )
    }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, body = "200 OK", "ok"
        if environ["PATH_INFO"] == "/readyz" and registry.is_draining:
            status, body = "503 Service Unavailable", "draining"
        elif environ["PATH_INFO"] == "/who":
            body = str(os.getpid())
        elif environ["PATH_INFO"] == "/scheme":
            body = environ["wsgi.url_scheme"]
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
