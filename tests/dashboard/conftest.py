"""The dashboard for tests: one migrated database is copied, and each test has a Redis database to itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrations import runner
from service.storage import open_database
from tests.conftest import NewRedis
from tests.dashboard.dashboards import Dashboard, open_dashboard

OpenDashboard = Callable[..., Dashboard]


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file without users, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "vocero.db"
    runner.upgrade(f"sqlite:///{path}")
    database = open_database(f"sqlite:///{path}")
    with database.engine.connect() as connection:  # all of it into the one file
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@pytest.fixture
def open_dashboard_with(
    migrated_database: Path,
    tmp_path_factory: pytest.TempPathFactory,
    new_redis: NewRedis,
) -> Iterator[OpenDashboard]:
    """A dashboard with other settings: `open_dashboard_with(dashboard_idle_seconds=0.2)`. It ends with the test."""
    opened: list[Dashboard] = []

    def open_one(**settings: Any) -> Dashboard:
        redis_url = settings.pop("redis_url", None) or new_redis()
        one = open_dashboard(migrated_database, tmp_path_factory.mktemp("dashboard"), redis_url, **settings)
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def dashboard(open_dashboard_with: OpenDashboard) -> Dashboard:
    """The application with its standard settings, no users yet, and an empty Redis."""
    return open_dashboard_with()
