"""A WSGI application that tells the metrics what it is asked to: for gunicorn, in `service.wsgi`'s place.

`GET /failed?cause=tls` calls `metrics.secrets_failed(FailureCause("tls"))` in the worker that answers; its process id
is the answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

from service import metrics

CALLS: dict[str, Callable[..., None]] = {
    "/are": lambda state: metrics.secrets_are(metrics.SecretsState(state)),
    "/failed": lambda cause: metrics.secrets_failed(metrics.FailureCause(cause)),
    "/livez": lambda: None,
    "/read": lambda at, version: metrics.secrets_read(at=float(at), version=int(version)),
    "/rotated": metrics.secrets_rotated,
    "/token": lambda at: metrics.vault_token_ends(float(at)),
}

LEAVES = SimpleNamespace(drain=lambda: None)


class CountingApplication:
    """What gunicorn's hooks expect of the service, and no more."""

    extensions = {  # noqa: RUF012
        "vocero": SimpleNamespace(conversations=LEAVES, speech_sockets=LEAVES, close=lambda: None)
    }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        CALLS[environ["PATH_INFO"]](**dict(parse_qsl(environ["QUERY_STRING"])))
        start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
        return [str(os.getpid()).encode()]


app = CountingApplication()
