"""How gunicorn runs the service: `gunicorn -c service/gunicorn_conf.py service.wsgi:app`."""

from __future__ import annotations

import sys
from typing import Any

import gevent

from service.config import load_settings
from service.errors import ConfigurationError

try:
    _settings = load_settings()
except ConfigurationError as exc:
    sys.exit(f"vocero: {exc}")

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "gevent"
worker_connections = _settings.worker_connections
# --preload would import ssl before gevent has patched it (docs/architecture.md, traps).
preload_app = False
control_socket_disable = True
graceful_timeout = 30
keepalive = 5
proc_name = "vocero"
accesslog = None
errorlog = "-"
loglevel = "warning"

_DRAIN_CHECK_SECONDS = 0.1


def post_worker_init(worker: Any) -> None:
    """Watch for the worker's end: gunicorn alone waits for `graceful_timeout` and then cuts every socket off."""

    def end_conversations_when_the_worker_leaves() -> None:
        while worker.alive:
            gevent.sleep(_DRAIN_CHECK_SECONDS)
        worker.wsgi.extensions["vocero"].conversations.drain()

    gevent.spawn(end_conversations_when_the_worker_leaves)
