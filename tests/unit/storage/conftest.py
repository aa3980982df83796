"""An empty database for each test, on both kinds."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from migrations import runner
from service.storage import Database, open_database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/vocero.db"
    server = make_url(request.getfixturevalue("postgresql"))
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(
        host=server.host, port=server.port, user=server.username, dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]  # a name of our own making
    return server.set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def database(empty_url: str) -> Iterator[Database]:
    """A database with our schema."""
    runner.upgrade(empty_url)
    database = open_database(empty_url)
    yield database
    database.close()
