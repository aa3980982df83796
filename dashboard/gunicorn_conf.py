"""How gunicorn runs the dashboard: `gunicorn -c dashboard/gunicorn_conf.py dashboard.wsgi:app`.

The key decision: one worker. What it knows of the workers it reads from Redis, who is signed in stands there too, so a
second process beside it (or on another node) is a second dashboard over the same sessions.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import gevent

from dashboard.settings import load_dashboard_settings
from service import unknown_variables
from service.errors import ConfigurationError, SettingsError
from service.gunicorn_log import log_class
from service.metrics_files import writable_folder
from service.ports import check_listeners

try:
    _settings = load_dashboard_settings()
    _complaints = unknown_variables.complaints()
    _folder = writable_folder()
except ConfigurationError as exc:
    print(f"vocero dashboard: {exc}", file=sys.stderr, flush=True)  # noqa: T201 (there is no log yet)
    sys.exit(exc.exit_code)

_PAGES_BESIDE_STREAMS = 100
_LEAVE_CHECK_SECONDS = 0.1
_NICENESS = 5  # on a node that carries conversations, they come first

bind = f"{_settings.dashboard_host}:{_settings.dashboard_port}"
workers = 1
worker_class = "gevent"
worker_connections = _settings.dashboard_streams + _PAGES_BESIDE_STREAMS
# --preload would import ssl before gevent has patched it (docs/architecture.md, traps).
preload_app = False
worker_tmp_dir = str(_folder)  # a worker's sign of life is a file; a slow disk would have it killed
# Whom to believe is said by VOCERO_DASHBOARD_TRUSTED_PROXIES alone; gunicorn would believe everybody on loopback.
forwarded_allow_ips = ""
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


def on_starting(server: Any) -> None:
    """Tell of variables that nobody reads, and look whether the port can be had.

    gunicorn would try for it for five seconds and then name no variable.
    """
    server.APP_LOAD_ERROR = SettingsError.exit_code  # what ends the master with the same code (`dashboard.wsgi`)
    for complaint in _complaints:
        server.log.warning(complaint)
    try:
        check_listeners(server, port_variable="VOCERO_DASHBOARD_PORT", host_variable="VOCERO_DASHBOARD_HOST")
    except ConfigurationError as exc:
        print(f"vocero dashboard: {exc}", file=sys.stderr, flush=True)  # noqa: T201 (the line that an operator looks for)
        sys.exit(exc.exit_code)


def post_fork(_: Any, __: Any) -> None:
    """In the worker, before it imports the dashboard: a flood of sign-ins must not take a core from the service."""
    os.nice(_NICENESS)
    gc.disable()  # what is imported now is no rubbish


def post_worker_init(worker: Any) -> None:
    """Watch for the worker's end: the streams of open pages would hold it up for the whole graceful time."""
    gc.collect()
    gc.freeze()  # as in `service.gunicorn_conf`
    gc.enable()

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
