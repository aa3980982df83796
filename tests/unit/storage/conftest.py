"""Databases for each test, on both kinds: an empty one, and one with our schema, copied from one that was migrated."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from migrations import runner
from service.storage import Database, check_schema, open_database

MakeDatabase = Callable[..., str]


def create_on(server_url: str, *, template: str = "template1") -> str:
    """Make a database on a PostgreSQL server; the value is its URL."""
    server = make_url(server_url)
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(
        host=server.host, port=server.port, user=server.username, dbname="postgres", autocommit=True
    ) as connection:
        names = (sql.Identifier(name), sql.Identifier(template))
        # By files and not through the log, which takes a third longer; there are some hundred of them.
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(*names))
    return server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database that the test gets."""
    return str(request.param)


@pytest.fixture
def empty_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/vocero.db"
    return create_on(request.getfixturevalue("postgresql"))


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite's with our schema, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "vocero.db"
    runner.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_template(postgresql: str) -> str:
    """The name of a PostgreSQL database with our schema, to be copied."""
    url = create_on(postgresql)
    runner.upgrade(url)
    return make_url(url).database or ""


@pytest.fixture
def migrated_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database with our schema."""
    if kind == "sqlite":
        path = tmp_path / "vocero.db"
        shutil.copyfile(request.getfixturevalue("migrated_file"), path)
        return f"sqlite:///{path}"
    template = request.getfixturevalue("migrated_template")
    return create_on(request.getfixturevalue("postgresql"), template=template)


@pytest.fixture
def database(migrated_url: str) -> Iterator[Database]:
    """A database with our schema, as a worker has it."""
    database = open_database(migrated_url)
    check_schema(database)
    yield database
    database.close()


@pytest.fixture
def database_at_0005(empty_url: str) -> Iterator[Database]:
    """A database with the older one of the schemas that the code runs on."""
    runner.upgrade(empty_url, "0005")
    database = open_database(empty_url)
    check_schema(database)
    yield database
    database.close()
