"""How gunicorn runs the service: `gunicorn -c service/gunicorn_conf.py service.wsgi:app`."""

from __future__ import annotations

import resource
import sys
from typing import Any

import gevent

from service import metrics_files
from service.config import load_settings
from service.errors import ConfigurationError
from service.gunicorn_log import log_class
from service.gunicorn_worker import Worker
from service.ops_process import OpsProcess
from service.quality_process import QualityProcess, socket_in
from service.vault import node_memory

try:
    _settings = load_settings()
except ConfigurationError as exc:
    sys.exit(f"vocero: {exc}")
if _settings.ops_port == _settings.port:
    sys.exit("vocero: VOCERO_OPS_PORT and VOCERO_PORT are the same; two listeners need two ports.")

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = Worker
worker_connections = _settings.worker_connections
# --preload would import ssl before gevent has patched it (docs/architecture.md, traps).
preload_app = False
control_socket_disable = True
graceful_timeout = _settings.graceful_seconds
keepalive = 5
proc_name = "vocero"
accesslog = None
errorlog = "-"
loglevel = "warning"
logger_class = log_class(_settings.log_format)
# Without an ops listener nobody adds the workers' numbers up, and each keeps its own in its memory.
raw_env = [f"{metrics_files.FOLDER_VARIABLE}={metrics_files.chosen_folder()}"] if _settings.ops_port else []

_DRAIN_CHECK_SECONDS = 0.1
_DESCRIPTORS_PER_CONNECTION = 2  # the client's socket and ElevenLabs'
_OTHER_DESCRIPTORS = 256


def on_starting(server: Any) -> None:
    """Prepare what the workers inherit, and take the ops listener's port."""
    _raise_descriptor_limit()
    node_memory.share_with_children()
    server.quality = None
    server.ops = None  # kept there, because this module is loaded anew when gunicorn reloads
    if _settings.ops_port:
        server.ops = OpsProcess(
            host=_settings.ops_host,
            port=_settings.ops_port,
            folder=metrics_files.chosen_folder(),
            environment=server.cfg.env_orig,
            log=server.log,
        )
        _or_exit(server.ops.listen)


def when_ready(server: Any) -> None:
    """Start the ops listener, and let the loop that looks after the workers look after it too."""
    if server.ops is None:
        return
    _or_exit(server.ops.start)
    if _settings.quality_sample_share:
        server.quality = QualityProcess(
            socket_in(metrics_files.chosen_folder()),
            environment=server.cfg.env_orig,
            log=server.log,
            log_format=_settings.log_format,
        )
        server.quality.listen()
    look_after_workers = server.manage_workers

    def look_after_all() -> None:
        server.ops.keep_running()
        if server.quality is not None:
            server.quality.keep_running()
        look_after_workers()

    server.manage_workers = look_after_all  # once a second, and after each child's death


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker a place that no other has."""
    worker.place = metrics_files.free_place({other.place for other in server.WORKERS.values()})
    if server.ops is not None:
        server.ops.forget_worker(worker.place)


def post_fork(server: Any, worker: Any) -> None:
    """In the worker, before it imports the service."""
    if server.ops is not None:
        metrics_files.take_place(worker.place)
        server.ops.leave_to_the_master()
    if server.quality is not None:
        server.quality.leave_to_the_master()


def post_worker_init(worker: Any) -> None:
    """Watch for the worker's end: gunicorn alone waits for `graceful_timeout` and then cuts every socket off.

    `alive` is what SIGTERM, a reload and `max_requests` all take away, so all three leave in the same way.
    """

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


def child_exit(server: Any, worker: Any) -> None:
    """In the master, when a worker has died, however it did."""
    if server.ops is not None:
        server.ops.forget_worker(worker.place)


def on_exit(server: Any) -> None:
    """End the ops listener last: it answers while the workers leave."""
    if server.quality is not None:
        server.quality.close()
    if server.ops is not None:
        server.ops.close()


def _raise_descriptor_limit() -> None:
    """The usual 1024 ends at some 500 conversations."""
    wanted = worker_connections * _DESCRIPTORS_PER_CONNECTION + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _or_exit(step: Any) -> None:
    try:
        step()
    except ConfigurationError as exc:
        sys.exit(f"vocero: {exc}")
