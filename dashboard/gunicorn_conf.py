"""How gunicorn runs the dashboard: `gunicorn -c dashboard/gunicorn_conf.py dashboard.wsgi:app`.

The key decision: one worker. What it knows of the workers it reads from Redis, who is signed in stands there too, so a
second process beside it (or on another node) is a second dashboard over the same sessions.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import gevent

from dashboard.settings import load_dashboard_settings
from service.errors import ConfigurationError
from service.gunicorn_log import log_class

try:
    _settings = load_dashboard_settings()
except ConfigurationError as exc:
    sys.exit(f"vocero dashboard: {exc}")
_others = {"VOCERO_PORT": _settings.port, "VOCERO_OPS_PORT": _settings.ops_port}
for _name, _port in _others.items():
    if _settings.dashboard_port == _port:
        sys.exit(f"vocero dashboard: VOCERO_DASHBOARD_PORT and {_name} are the same; two listeners need two ports.")

_PAGES_BESIDE_STREAMS = 100
_LEAVE_CHECK_SECONDS = 0.1
_NICENESS = 5  # on a node that carries conversations, they come first

bind = f"{_settings.dashboard_host}:{_settings.dashboard_port}"
workers = 1
worker_class = "gevent"
worker_connections = _settings.dashboard_streams + _PAGES_BESIDE_STREAMS
# --preload would import ssl before gevent has patched it (docs/architecture.md, traps).
preload_app = False
control_socket_disable = True
graceful_timeout = 8
keepalive = 2  # idle connections are what a leaving process waits for
limit_request_line = 4094
limit_request_fields = 60
proc_name = "vocero-dashboard"
accesslog = None
errorlog = "-"
loglevel = "warning"
logger_class = log_class(_settings.log_format)


def post_fork(_: Any, __: Any) -> None:
    """In the worker, before it imports the dashboard: a flood of sign-ins must not take a core from the service."""
    os.nice(_NICENESS)


def post_worker_init(worker: Any) -> None:
    """Watch for the worker's end: the streams of open pages would hold it up for the whole graceful time."""

    def end_streams_when_the_worker_leaves() -> None:
        while worker.alive:
            gevent.sleep(_LEAVE_CHECK_SECONDS)
        worker.wsgi.extensions["dashboard"].watch.close()

    gevent.spawn(end_streams_when_the_worker_leaves)


def worker_exit(_: Any, worker: Any) -> None:
    """End what is kept open."""
    app = getattr(worker, "wsgi", None)
    if app is not None:  # else it did not come up
        app.extensions["dashboard"].close()
