"""The service as it is, and one more path that tells what its worker holds: for gunicorn, in `service.wsgi`'s place."""

from __future__ import annotations

from service.wsgi import app, services  # first: it patches

import gc  # isort: skip
import json  # isort: skip
from collections.abc import Iterable  # isort: skip
from typing import Any  # isort: skip

import gevent  # isort: skip
import greenlet  # type: ignore[import-untyped]  # isort: skip

from service.websocket.server import StartResponse, WsgiApp  # isort: skip
from soak.worker_state import STATE_PATH  # isort: skip

__all__ = ["app"]


class Watched:
    """WSGI middleware that answers `STATE_PATH`."""

    def __init__(self, inner: WsgiApp) -> None:
        self._inner = inner

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != STATE_PATH:
            return self._inner(environ, start_response)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(_state()).encode()]


def _state() -> dict[str, int]:
    gc.collect()
    living = sum(isinstance(found, greenlet.greenlet) and not found.dead for found in gc.get_objects())
    return {
        "greenlets": living,
        "watchers": gevent.get_hub().loop.activecnt,
        "conversations": len(services.conversations),
    }


app.wsgi_app = Watched(app.wsgi_app)  # type: ignore[method-assign]  # Flask's documented way
