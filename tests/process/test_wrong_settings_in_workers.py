"""What is wrong about a setting and only a worker finds: one line, and the same code as what is found at once.

A worker alone may import what looks at such a setting (docs/architecture.md, traps), so gunicorn's own codes are near.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.launcher.waiting import wait_until
from service.config import Settings, load_settings
from service.elevenlabs.transport import make_tls_context
from service.errors import SettingsError
from service.fallback.backup import make_backup
from service.leg_services import make_second_elevenlabs
from service.quick_redis import quick_redis
from service.storage import open_database
from service.vault.session import make_vault_context
from tests.process.test_wrong_settings import PROGRAMS
from tests.servers import READY_SECONDS, ROOT, children_of, clean_environment, free_port, is_alive

SECRET = "hunter2"
NOWHERE = "/nowhere/vocero"


def ended(program: str, **settings: str) -> tuple[int, list[str]]:
    """What it ends with, and its own lines (without gunicorn's)."""
    done = subprocess.run(
        PROGRAMS[program],
        cwd=ROOT,
        env=clean_environment(VOCERO_OPS_PORT="0", VOCERO_LOG_FORMAT="json", **settings),
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr
    return done.returncode, [line for line in done.stderr.splitlines() if line.startswith("vocero")]


def test_a_file_of_certificates_that_is_none_ends_the_service_with_78(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    file.write_text(SECRET)
    given = {"ELEVENLABS_API_KEY": "x", "VOCERO_UPSTREAM_CA_FILE": str(file), "VOCERO_PORT": str(free_port())}
    database = {"VOCERO_DATABASE_URL": "postgresql+psycopg://vocero@127.0.0.1:1/vocero"}  # which may come later
    assert ended("service", **given, **database) == (
        78, [f"vocero: VOCERO_UPSTREAM_CA_FILE: {file} has no certificates (PEM)."],
    )  # fmt: skip


def test_a_wrong_database_url_ends_the_dashboard_with_78_and_one_that_is_away_with_3() -> None:
    port = {"VOCERO_DASHBOARD_PORT": str(free_port())}
    assert ended("dashboard", VOCERO_DATABASE_URL="sqlite://", **port) == (
        78, ["vocero dashboard: VOCERO_DATABASE_URL: SQLite needs a file, as in sqlite:///FILE."],
    )  # fmt: skip
    away = f"postgresql+psycopg://vocero:{SECRET}@127.0.0.1:1/vocero"
    code, (line,) = ended("dashboard", VOCERO_DATABASE_URL=away, **port)
    assert code == 3, "and not 78: to try it again may help"
    assert line.startswith("vocero dashboard: VOCERO_DATABASE_URL: the database cannot be reached")


def test_several_workers_that_find_it_at_the_same_moment_end_the_service_with_78() -> None:
    """gunicorn ended with a traceback and 1: it heard of the second while it left because of the first."""
    settings = {"ELEVENLABS_API_KEY": "x", "VOCERO_WORKERS": "2", "VOCERO_DATABASE_URL": "sqlite://"}
    master = subprocess.Popen(
        PROGRAMS["service"],
        cwd=ROOT,
        env=clean_environment(VOCERO_OPS_PORT="0", VOCERO_PORT=str(free_port()), **settings),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: len(children_of(master.pid)) == 2, READY_SECONDS, "both workers")
        workers = children_of(master.pid)
        os.kill(master.pid, signal.SIGSTOP)
        wait_until(lambda: not any(map(is_alive, workers)), READY_SECONDS, "both have ended")
        os.kill(master.pid, signal.SIGCONT)
        _, said = master.communicate(timeout=READY_SECONDS)
    finally:
        master.kill()
    assert "Traceback" not in said
    assert master.returncode == 78


def _database(settings: Settings) -> object:
    return open_database(settings.database_url.get_secret_value())


def _redis(settings: Settings) -> object:
    return quick_redis(settings.redis_url)


def _backup(settings: Settings) -> None:
    with contextlib.closing(make_backup(settings)) as backup:
        backup.start()


WRONG: dict[str, tuple[str, Callable[[Settings], object], dict[str, str]]] = {
    "VOCERO_DATABASE_URL: an option": (
        "an option of SQLite's", _database, {"VOCERO_DATABASE_URL": "sqlite:////nowhere/file?timeout=soon"},
    ),
    "VOCERO_DATABASE_URL: this is not": (
        "a port that is none", _database, {"VOCERO_DATABASE_URL": f"postgresql+psycopg://u:{SECRET}@host:port/x"},
    ),
    "VOCERO_DATABASE_URL: use": (
        "another driver", _database, {"VOCERO_DATABASE_URL": f"postgresql+asyncpg://u:{SECRET}@host/x"},
    ),
    "VOCERO_REDIS_URL: its port, its": (
        "an option's value", _redis, {"VOCERO_REDIS_URL": f"redis://:{SECRET}@host/0?socket_timeout=soon"},
    ),
    "VOCERO_REDIS_URL: its port, its database": (
        "an option that there is not", _redis, {"VOCERO_REDIS_URL": f"redis://:{SECRET}@host/0?nothing=1"},
    ),
    "VOCERO_REDIS_URL: its host or its port": (
        "a port of Redis' that is none", _redis, {"VOCERO_REDIS_URL": f"redis://:{SECRET}@host:port/0"},
    ),
    "ELEVENLABS_BASE_URL: its host or its port": (
        "one of ElevenLabs' that is none", make_second_elevenlabs, {"ELEVENLABS_BASE_URL": "https://host:99999"},
    ),
    "VOCERO_UPSTREAM_CA_FILE: /nowhere/": (
        "no file of certificates", lambda _: make_tls_context(NOWHERE), {},
    ),
    "VAULT_CACERT: /nowhere/": (
        "none of Vault's", lambda _: make_vault_context("https://vault", Path(NOWHERE), verify=True), {},
    ),
    "VOCERO_ELEVENLABS_2_API_KEY has a blank": (
        "a second key that is none", make_second_elevenlabs,
        {"VOCERO_FALLBACK_CHAIN": "elevenlabs,elevenlabs_2", "VOCERO_ELEVENLABS_2_API_KEY": f"{SECRET} {SECRET}"},
    ),
    "VOCERO_FALLBACK_VOICES: *: there is no voice": (
        "a voice that there is not", _backup, {"VOCERO_FALLBACK_VOICES": '{"*": {"*": "nobody"}}'},
    ),
    "The FAQ file Makefile cannot be read (line ": (
        "a FAQ that is no YAML", _backup, {"VOCERO_FALLBACK_FAQ": str(ROOT / "Makefile")},
    ),
    "The FAQ file /nowhere/vocero cannot be read (No such file": (
        "no FAQ", _backup, {"VOCERO_FALLBACK_FAQ": NOWHERE},
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", WRONG, ids=[what for what, _, _ in WRONG.values()])
def test_what_a_worker_finds_wrong_is_a_wrong_setting_and_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    _, step, settings = WRONG[words]
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        step(load_settings())
    said = str(caught.value)
    assert said.startswith(words)
    assert "\n" not in said
    assert SECRET not in said
