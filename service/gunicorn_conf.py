"""How gunicorn runs the service: `gunicorn -c service/gunicorn_conf.py service.wsgi:app`."""

from __future__ import annotations

import gc
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

import gevent

from service import metrics_files, unknown_variables
from service.config import load_service_settings
from service.errors import ConfigurationError
from service.gunicorn_log import log_class
from service.gunicorn_master import Master, Roll
from service.gunicorn_worker import SETTINGS_EXIT_CODE, Worker
from service.ops_process import OpsProcess
from service.ports import check_listeners
from service.quality_process import QualityProcess, socket_in
from service.vault import node_memory

try:
    _settings = load_service_settings()
    _complaints = unknown_variables.complaints()
    _folder = metrics_files.chosen_folder()
except ConfigurationError as exc:
    print(f"vocero: {exc}", file=sys.stderr, flush=True)  # noqa: T201 (there is no log yet)
    sys.exit(exc.exit_code)

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = Worker
worker_connections = _settings.worker_connections
# A worker's sign of life is a file: on a disk that is slow, it would be late and the worker killed.
worker_tmp_dir = str(_folder.parent)
# --preload would import ssl before gevent has patched it (docs/architecture.md, traps).
preload_app = False
control_socket_disable = True
# Whom to believe is said by VOCERO_TRUSTED_PROXIES alone (`service.app`); gunicorn would believe everybody on loopback.
forwarded_allow_ips = ""
graceful_timeout = _settings.graceful_seconds
keepalive = 5
proc_name = "vocero"
accesslog = None  # each request has its line in the service's own log (`service.web.request_log`)
errorlog = "-"
loglevel = "warning"
logger_class = log_class(_settings.log_format)
# Without an ops listener nobody adds the workers' numbers up, and each keeps its own in its memory.
raw_env = [f"{metrics_files.FOLDER_VARIABLE}={_folder}"] if _settings.ops_port else []

_DRAIN_CHECK_SECONDS = 0.1


def on_starting(server: Any) -> None:
    """Prepare what the workers inherit, and take the ports."""
    for complaint in _complaints:
        server.log.warning(complaint)
    _raise_descriptor_limit(server.log)
    node_memory.share_with_children()
    # What outlasts a reload is kept there, because this module is loaded anew then.
    server.roll = Roll()
    server.APP_LOAD_ERROR = SETTINGS_EXIT_CODE  # what ends the master with the same code
    server.settings = _settings
    server.quality = None
    server.ops = None
    server.master = None
    _or_exit(lambda: check_listeners(server, port_variable="VOCERO_PORT", host_variable="VOCERO_HOST"))
    if _settings.ops_port:
        server.ops = OpsProcess(
            host=_settings.ops_host,
            port=_settings.ops_port,
            folder=_folder,
            environment=server.cfg.env_orig,
            log=server.log,
        )
        _or_exit(server.ops.listen)


def when_ready(server: Any) -> None:
    """Start the processes beside the workers, and look after all of them."""
    companions: list[OpsProcess | QualityProcess] = []
    if server.ops is not None:
        _or_exit(server.ops.start)
        companions.append(server.ops)
        if _settings.quality_sample_share:
            server.quality = QualityProcess(
                socket_in(_folder), environment=server.cfg.env_orig, log=server.log, log_format=_settings.log_format
            )
            server.quality.listen()
            companions.append(server.quality)
    server.master = Master(server, companions=companions, check_new_settings=lambda: _check_new_settings(server))
    server.master.take_over()


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker a place that no other has."""
    worker.place = metrics_files.free_place({other.place for other in server.WORKERS.values()})
    worker.may_end_the_master = not server.roll.was_ever_up
    server.roll.start(worker.place)
    if server.ops is not None:
        server.ops.forget_worker(worker.place)


def post_fork(server: Any, worker: Any) -> None:
    """In the worker, before it imports the service."""
    gc.disable()  # what is imported now is no rubbish; looking for some took a sixth of a start
    # Until the worker's own handlers are set: the master's, which it has inherited, would swallow a SIGTERM.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if server.ops is not None:
        metrics_files.take_place(worker.place)
        server.ops.leave_to_the_master()
    if server.quality is not None:
        server.quality.leave_to_the_master()
    worker.roll = server.roll


def post_worker_init(worker: Any) -> None:
    """Watch for the worker's end: gunicorn alone waits for `graceful_timeout` and then cuts every socket off.

    `alive` is what SIGTERM, a reload and `max_requests` all take away, so all three leave in the same way.
    """
    gc.collect()
    gc.freeze()  # each full collection would else look at all that was imported: 0.1 s of silence and more
    gc.enable()
    worker.roll.up(worker.place)

    def end_conversations_when_the_worker_leaves() -> None:
        while worker.alive:
            gevent.sleep(_DRAIN_CHECK_SECONDS)
        services = worker.wsgi.extensions["vocero"]
        gevent.spawn(services.speech_sockets.drain)
        services.conversations.drain()

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
    server.master.worker_ended(worker.place)


def on_exit(server: Any) -> None:
    """End the ops listener last: it answers while the workers leave."""
    if server.quality is not None:
        server.quality.close()
    if server.ops is not None:
        server.ops.close()


def _check_new_settings(server: Any) -> None:
    """What a reload would read: raises ConfigurationError if it is wrong, or cannot change while the master lives."""
    new, old = load_service_settings(), server.settings
    for name in ("host", "port", "ops_host", "ops_port"):
        if getattr(new, name) != getattr(old, name):
            raise ConfigurationError(f"VOCERO_{name.upper()} cannot change with a reload; start the service anew.")


def _raise_descriptor_limit(log: Any) -> None:
    """The usual 1024 ends at some 500 conversations."""
    wanted = _settings.descriptors
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < wanted:
            log.warning(
                f"VOCERO_WORKER_CONNECTIONS={worker_connections} needs {wanted} file descriptors, {hard} are allowed:"
                " raise the limit (ulimit -Hn, LimitNOFILE=, --ulimit nofile=), or lower that number."
            )


def _or_exit(step: Callable[[], None]) -> None:
    try:
        step()
    except ConfigurationError as exc:
        print(f"vocero: {exc}", file=sys.stderr, flush=True)  # noqa: T201 (the line that an operator looks for)
        sys.exit(exc.exit_code)
