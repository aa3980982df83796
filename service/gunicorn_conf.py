"""How gunicorn runs the service: `gunicorn -c service/gunicorn_conf.py service.wsgi:app`."""

from __future__ import annotations

import resource
import sys
from typing import Any

import gevent

from service.config import load_settings
from service.errors import ConfigurationError
from service.gunicorn_worker import Worker

try:
    _settings = load_settings()
except ConfigurationError as exc:
    sys.exit(f"vocero: {exc}")

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = Worker
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
_DESCRIPTORS_PER_CONNECTION = 2  # the client's socket and ElevenLabs'
_OTHER_DESCRIPTORS = 256


def on_starting(_: Any) -> None:
    """Raise the limit of open files, which the workers inherit: the usual 1024 ends at some 500 conversations."""
    wanted = worker_connections * _DESCRIPTORS_PER_CONNECTION + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def post_worker_init(worker: Any) -> None:
    """Watch for the worker's end: gunicorn alone waits for `graceful_timeout` and then cuts every socket off."""

    def end_conversations_when_the_worker_leaves() -> None:
        while worker.alive:
            gevent.sleep(_DRAIN_CHECK_SECONDS)
        worker.wsgi.extensions["vocero"].conversations.drain()

    gevent.spawn(end_conversations_when_the_worker_leaves)


def worker_exit(_: Any, worker: Any) -> None:
    """End what is kept open, and take back what the worker has told about itself in Redis."""
    app = getattr(worker, "wsgi", None)
    if app is not None:  # else it did not come up
        app.extensions["vocero"].close()
