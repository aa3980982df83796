"""Databases and Redis servers of a test's own that can be taken away and brought back, as they were."""

from __future__ import annotations

import re
import secrets
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
import redis
from psycopg import sql
from sqlalchemy import make_url

from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from scripts.reversal.contents import Contents, Rows
from scripts.reversal.databases import PgPrograms, make_keeper
from tests.postgresql import PostgresqlServer
from tests.servers import READY_SECONDS, ROOT, clean_environment


class DatabasePlace(Protocol):
    """A database that can be gone."""

    url: str
    arguments: tuple[str, ...]

    def take_away(self) -> None: ...

    def bring_back(self) -> None: ...

    def leftovers(self) -> list[str]: ...


class SqlitePlace:
    """A file in a folder of its own, which goes as a whole, as an unmounted disk does."""

    arguments: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "database"
        self._folder.mkdir(exist_ok=True)
        self.path = self._folder / "vocero.db"
        self.url = f"sqlite:///{self.path}"

    @property
    def _gone(self) -> Path:
        return self._folder.with_name("database.gone")

    def take_away(self) -> None:
        self._folder.rename(self._gone)

    def bring_back(self) -> None:
        if self._gone.exists():
            shutil.rmtree(self._folder, ignore_errors=True)  # what somebody made in its place
            self._gone.rename(self._folder)

    def leftovers(self) -> list[str]:
        known = {"vocero.db", "vocero.db-wal", "vocero.db-shm", "vocero.db.rollback-lock"}
        return [path.name for path in self._folder.iterdir() if path.name not in known]


class PostgresqlPlace:
    """A database on a server of the tests' own."""

    def __init__(self, server: PostgresqlServer) -> None:
        self._server = server
        self.url = create_database(server.url)
        self.arguments = ("--pg-bin", str(server.programs))

    def take_away(self) -> None:
        self._server.stop()

    def bring_back(self) -> None:
        self._server.stop()
        self._server.start()

    def hang(self) -> None:
        self._server.signal(signal.SIGSTOP)

    def wake_up(self) -> None:
        self._server.signal(signal.SIGCONT)

    def leftovers(self) -> list[str]:
        with connect(self._server.url) as connection:
            found = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'vocero\\_check%'"
            ).fetchall()
            return [row[0] for row in found]


def connect(url: str) -> psycopg.Connection:
    """A connection of our own, with autocommit."""
    server = make_url(url)
    return psycopg.connect(
        host=server.host, port=server.port, user=server.username, dbname=server.database, autocommit=True
    )


def create_database(server_url: str, *, template: str = "template1") -> str:
    """Make a database on the server; its URL."""
    name = f"test_{secrets.token_hex(6)}"
    with connect(server_url) as connection:
        names = (sql.Identifier(name), sql.Identifier(template))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


class RedisPlace:
    """A Valkey that keeps what it holds over a stop."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "valkey"
        self._folder.mkdir(exist_ok=True)
        self.socket = valkey.socket_path(self._folder)
        self.url = valkey.redis_url(self.socket)
        self._child = Child(
            "Valkey",
            valkey.server_command(self._folder, self.socket),
            environment=clean_environment(),
            log_path=self._folder / "valkey.log",
            folder=self._folder,
        )

    def bring_back(self) -> None:
        if self._child.exit_code is not None or not self.socket.exists():
            self._child.start()
            self._child.wait_until_ready(self._answers, READY_SECONDS)

    def _answers(self) -> bool:
        if not probes.accepts(str(self.socket)):
            return False
        with self.client() as store:
            try:
                return bool(store.ping())
            except redis.RedisError:  # it reads what it had saved
                return False

    def take_away(self) -> None:
        self._child.stop()

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(self.url, socket_timeout=5) as client:
            yield client


def runbook_rights() -> list[str]:
    """What docs/rollback.md grants a user of Redis for a rollback, as `ACL SETUSER` takes it."""
    found = re.search(r"ACL SETUSER rollback on >password (.*)", (ROOT / "docs" / "rollback.md").read_text())
    assert found is not None
    return found[1].split()


@dataclass(frozen=True)
class EndState:
    """What a database and a Redis hold, as far as it must be the same however a rollback was interrupted."""

    contents: Contents
    keys: dict[bytes, bytes]


def end_state(url: str, store: redis.Redis) -> EndState:
    """What is there now. Of the audit only the number of entries counts: each has its own moment and hash."""
    keeper = make_keeper(url, programs=PgPrograms(), scratch_folder=Path())
    found = keeper.read_contents(url)
    tables = dict(found.tables)
    if "audit_entries" in tables:
        tables["audit_entries"] = Rows(tables["audit_entries"].count, "")
    keys = {key: store.dump(key) or b"" for key in store.scan_iter(count=1000)}
    return EndState(Contents(found.revision, found.schema, tables), keys)
