"""Both databases, a Redis of the session, and a Redis of the test's own that may be killed, stopped and flushed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from scripts.launcher import probes
from scripts.launcher import valkey as embedded_valkey
from scripts.launcher.child import Child
from service.conversation.ledger import Ledger
from service.storage import Conversations, Database
from service.storage.record_writer import RecordWriter
from tests import servers
from tests.conftest import NewRedis
from tests.ledgers.stores import connect_patiently, hasty
from tests.unit.storage.conftest import (  # noqa: F401 (fixtures)
    database,
    empty_url,
    kind,
    migrated_file,
    migrated_template,
    migrated_url,
)

MakeLedger = Callable[..., Ledger]


@pytest.fixture
def redis_url(new_redis: NewRedis) -> str:
    """The URL of an empty Redis database that only this test uses."""
    return new_redis()


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    """A client of it."""
    with connect_patiently(redis_url) as client:
        yield client


class OwnRedis:
    """A Redis that a test may treat as the world does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = embedded_valkey.socket_path(folder)
        self.url = embedded_valkey.redis_url(self._socket)
        self._child: Child | None = None

    def start(self, *options: str) -> None:
        """Start it; it finds again what its append-only file has."""
        self._child = Child(
            "Valkey",
            [*embedded_valkey.server_command(self._folder, self._socket), *options],
            environment=servers.clean_environment(),
            log_path=self._folder / "valkey.log",
            folder=self._folder,
        )
        self._child.start()
        self._child.wait_until_ready(lambda: probes.accepts(str(self._socket)), servers.READY_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._child is not None
        assert self._child.pid is not None
        os.kill(self._child.pid, number)

    def kill(self) -> None:
        """Let it die."""
        self.signal(signal.SIGKILL)
        assert self._child is not None
        self._child.stop()

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    """A Redis of the test's own."""
    running = OwnRedis(tmp_path_factory.mktemp("own_valkey"))
    running.start()
    yield running
    running.signal(signal.SIGCONT)
    running.stop()


@pytest.fixture
def make_ledger(database: Database) -> Iterator[MakeLedger]:  # noqa: F811
    """Make and start a ledger: `make_ledger(store)`. It ends with the test."""
    made: list[tuple[Ledger, redis.Redis]] = []

    def make(
        store: redis.Redis, *, starts: bool = True, conversations: Conversations | None = None, **options: object
    ) -> Ledger:
        kept = conversations or Conversations(database)
        client = hasty(store)
        ledger = Ledger(client, kept, RecordWriter(kept), **options)  # type: ignore[arg-type]
        if starts:
            ledger.start()
        made.append((ledger, client))
        return ledger

    yield make
    for ledger, client in made:
        ledger.close(0.5)
        client.close()
