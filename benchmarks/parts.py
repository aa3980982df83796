"""The real parts of a measurement: Valkey, a migrated database, the fake upstream, and the service before it.

The service is started as in production, with one worker, by the code that the tests start it with.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from benchmarks.peers.catalogue import CONNECTIONS, running_peers
from benchmarks.targets import AGENT_ID, Target
from migrations import runner
from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from service.storage import ApiKeys, open_database
from tests.servers import READY_SECONDS, ROOT, clean_environment, free_port, start_service


@dataclass(frozen=True)
class Parts:
    """What runs. `direct`, `service` and the `peers`, if there are any, lead to the same fake upstream."""

    direct: Target
    service: Target
    upstream_pid: int
    service_log: Path
    peers: tuple[Target, ...] = ()


@contextmanager
def running_parts(
    *,
    with_peers: bool = False,
    upstream_module: str = "benchmarks.fake_upstream",
    application: str = "service.wsgi:app",
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Parts]:
    """Everything, fresh: memory that one measurement has freed must not be there for the next one to use.

    `settings` of the service come on top of those that every load needs.
    """
    with tempfile.TemporaryDirectory(prefix="vocero-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        upstream_port = free_port()
        upstream = _start_upstream(folder, upstream_port, upstream_module)
        stack.callback(upstream.stop)
        socket = valkey.socket_path(folder)
        store = _start_valkey(folder, socket)
        stack.callback(store.stop)
        database_url, api_key = _prepare_database(folder)
        service = start_service(
            folder,
            api_key,
            {
                "ELEVENLABS_BASE_URL": f"http://127.0.0.1:{upstream_port}",
                "ELEVENLABS_API_KEY": "bench",
                "ELEVENLABS_AGENT_ID": AGENT_ID,
                "VOCERO_PUBLIC_AGENTS": AGENT_ID,
                "VOCERO_REDIS_URL": valkey.redis_url(socket),
                "VOCERO_DATABASE_URL": database_url,
                "VOCERO_LOG_LEVEL": "info",
                # Counted as always, but no flood reaches it.
                "VOCERO_CLIENT_MESSAGES_PER_SECOND": "10000000",
                "VOCERO_WORKER_CONNECTIONS": str(CONNECTIONS),
                **settings,
            },
            application=application,
        )
        stack.callback(service.stop)
        peers: tuple[Target, ...] = ()
        if with_peers:
            peers = stack.enter_context(running_peers(folder, upstream_port, api_key=api_key))
        yield Parts(
            direct=Target("direct", upstream_port, api_key),
            service=Target("service", service.port, api_key, tuple(service.worker_pids())),
            upstream_pid=upstream.pid,
            service_log=service.log_path,
            peers=peers,
        )


def _start_upstream(folder: Path, port: int, module: str) -> Child:
    child = Child(
        "fake upstream",
        [sys.executable, "-m", module, "--port", str(port)],
        environment=clean_environment(),
        log_path=folder / "upstream.log",
        folder=ROOT,
    )
    child.start()
    child.wait_until_ready(lambda: probes.accepts(("127.0.0.1", port)), READY_SECONDS)
    return child


def _start_valkey(folder: Path, socket: Path) -> Child:
    child = Child(
        "Valkey",
        valkey.server_command(folder, socket),
        environment=clean_environment(),
        log_path=folder / "valkey.log",
        folder=folder,
    )
    child.start()
    child.wait_until_ready(lambda: probes.accepts(str(socket)), READY_SECONDS)
    return child


def _prepare_database(folder: Path) -> tuple[str, str]:
    """A migrated SQLite database, and an API key in it."""
    url = f"sqlite:///{folder}/vocero.db"
    runner.upgrade(url)
    database = open_database(url)
    try:
        return url, ApiKeys(database).create("bench")[1]
    finally:
        database.close()
