"""The real parts of a soak: Valkey, a migrated database, the agents, and the service before them with one worker."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from migrations import runner
from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from service.storage import ApiKeys, open_database
from soak.worker import Worker
from tests.servers import READY_SECONDS, ROOT, RunningService, clean_environment, free_port, start_service

AGENT_ID = "agent_soak"
CONVERSATION_TARGET = f"/v1/convai/conversation?agent_id={AGENT_ID}"
CONNECTIONS = 1024


@dataclass(frozen=True)
class Parts:
    """What runs: the service at `port` of the loopback interface."""

    port: int
    worker: Worker
    service_log: Path


@contextmanager
def running_parts(settings: Mapping[str, str] | None = None) -> Iterator[Parts]:
    """Everything, fresh; `settings` of the service come on top of those that it needs here."""
    with tempfile.TemporaryDirectory(prefix="vocero-soak-") as name, ExitStack() as stack:
        folder = Path(name)
        agents_port = free_port()
        agents = [sys.executable, "-m", "soak.upstream", "--port", str(agents_port)]
        upstream = stack.enter_context(running("agents", agents, folder, ("127.0.0.1", agents_port)))
        store = valkey.socket_path(folder)
        stack.enter_context(running("Valkey", valkey.server_command(folder, store), folder, str(store)))
        database_url, api_key = _prepare_database(folder)
        service = start_service(
            folder,
            api_key,
            {
                "ELEVENLABS_BASE_URL": f"http://127.0.0.1:{agents_port}",
                "ELEVENLABS_API_KEY": "soak",
                "ELEVENLABS_AGENT_ID": AGENT_ID,
                "VOCERO_PUBLIC_AGENTS": AGENT_ID,
                "VOCERO_REDIS_URL": valkey.redis_url(store),
                "VOCERO_DATABASE_URL": database_url,
                "VOCERO_LOG_LEVEL": "info",
                # Counted as always, but nothing here reaches it.
                "VOCERO_CLIENT_MESSAGES_PER_SECOND": "10000000",
                "VOCERO_WORKER_CONNECTIONS": str(CONNECTIONS),
                **(settings or {}),
            },
            application="soak.watched_service:app",
        )
        stack.callback(service.stop)
        worker = Worker(service.port, service.worker_pids(), upstream.pid)
        yield Parts(port=service.port, worker=worker, service_log=service.log_path)


@contextmanager
def running_service(folder: Path, settings: Mapping[str, str]) -> Iterator[RunningService]:
    """The service alone with a Valkey and a database of its own in `folder`; `settings` say what it talks to."""
    with ExitStack() as stack:
        store = valkey.socket_path(folder)
        stack.enter_context(running("Valkey", valkey.server_command(folder, store), folder, str(store)))
        database_url, api_key = _prepare_database(folder)
        ours = {"VOCERO_REDIS_URL": valkey.redis_url(store), "VOCERO_DATABASE_URL": database_url}
        service = start_service(folder, api_key, {"VOCERO_LOG_LEVEL": "info", **ours, **settings})
        stack.callback(service.stop)
        yield service


@contextmanager
def running(name: str, command: list[str], folder: Path, address: str | tuple[str, int]) -> Iterator[Child]:
    """A process that listens at `address` (host and port, or a Unix socket)."""
    log_path = folder / f"{name.replace(' ', '-')}.log"
    child = Child(name, command, environment=clean_environment(), log_path=log_path, folder=ROOT)
    child.start()
    try:
        child.wait_until_ready(lambda: probes.accepts(address), READY_SECONDS)
        yield child
    finally:
        child.stop()


def _prepare_database(folder: Path) -> tuple[str, str]:
    """A migrated SQLite database, and an API key in it."""
    url = f"sqlite:///{folder}/vocero.db"
    runner.upgrade(url)
    database = open_database(url)
    try:
        return url, ApiKeys(database).create("soak")[1]
    finally:
        database.close()
