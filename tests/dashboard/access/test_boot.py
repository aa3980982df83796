"""The dashboard under gunicorn: when it starts and when it refuses to, and that signing in works there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from dashboard.access.first_user import first_admin
from scripts.launcher import probes
from scripts.launcher.child import Child
from service import __version__
from service.storage import AdminUsers, open_database
from tests.conftest import NewRedis
from tests.servers import READY_SECONDS, ROOT, clean_environment, free_port

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "dashboard/gunicorn_conf.py", "dashboard.wsgi:app"]


@pytest.fixture
def environment(migrated_database: Path, tmp_path: Path, new_redis: NewRedis) -> dict[str, str]:
    """The environment of a dashboard over a migrated database without users."""
    database = tmp_path / "vocero.db"
    shutil.copyfile(migrated_database, database)
    return clean_environment(
        VOCERO_DATABASE_URL=f"sqlite:///{database}",
        VOCERO_REDIS_URL=new_redis(),
        VOCERO_DASHBOARD_PORT=str(free_port()),
    )


def refusal(environment: dict[str, str]) -> str:
    """What it says when it does not start."""
    ended = subprocess.run(
        COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=READY_SECONDS, check=False
    )
    assert ended.returncode != 0
    return ended.stderr


def test_it_does_not_start_where_nobody_can_sign_in(environment: dict[str, str]) -> None:
    said = refusal(environment)
    assert "vocero dashboard: nobody can sign in" in said
    assert "python -m scripts.admin_users create NAME --role admin" in said
    assert "Traceback" not in said


def test_it_does_not_start_on_another_listeners_port(environment: dict[str, str]) -> None:
    said = refusal({**environment, "VOCERO_PORT": environment["VOCERO_DASHBOARD_PORT"]})
    assert said.strip() == (
        "vocero dashboard: VOCERO_DASHBOARD_PORT and VOCERO_PORT are the same; two listeners need two ports."
    )


def test_it_starts_signs_in_with_real_threads_and_leaves_though_a_page_is_open(
    environment: dict[str, str], tmp_path: Path
) -> None:
    database = open_database(environment["VOCERO_DATABASE_URL"])
    password = first_admin(AdminUsers(database))
    database.close()
    child = Child(
        "dashboard",
        COMMAND,
        environment=environment,
        log_path=tmp_path / "dashboard.log",
        folder=ROOT,
        stop_seconds=20.0,
    )
    url = f"http://127.0.0.1:{environment['VOCERO_DASHBOARD_PORT']}"
    child.start()
    try:
        child.wait_until_ready(lambda: probes.answers(f"{url}/livez"), READY_SECONDS)
        with requests.Session() as browser:
            answer = browser.post(
                f"{url}/login",
                json={"name": "admin", "password": password},
                headers={"X-Requested-By": "dashboard", "Origin": url},
                timeout=20,
            )
            assert answer.status_code == 200, answer.text
            assert __version__ not in str(answer.headers)
            assert browser.get(url, timeout=20).status_code == 200
            with browser.get(f"{url}/api/live", stream=True, timeout=20) as stream:  # a page that stays open
                assert b"retry" in next(stream.iter_content(64))
                child.stop()
    finally:
        child.stop()
    log = child.log_path.read_text()
    assert "Traceback" not in log
    assert "graceful timeout" not in log
    assert str(password) not in log
    assert child.exit_code == 0
