"""A wrong setting ends each program before anything is opened: one line, and the code that supervisors know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import READY_SECONDS, ROOT, clean_environment, free_port

GUNICORN = [sys.executable, "-m", "gunicorn", "-c"]
SERVICE = [*GUNICORN, "service/gunicorn_conf.py", "service.wsgi:app"]
PROGRAMS = {
    "service": SERVICE,
    "dashboard": [*GUNICORN, "dashboard/gunicorn_conf.py", "dashboard.wsgi:app"],
    "make run": [sys.executable, "-m", "scripts.run", "--env-file", "/nowhere/.env"],
    "rollback": [sys.executable, "-m", "scripts.rollback", "plan"],
    "migrations": [sys.executable, "-m", "migrations", "current"],
    "keys": [sys.executable, "-m", "scripts.api_keys", "list"],
}


def refusal(command: list[str], **settings: str) -> str:
    """The one line that the program ends with, and 78."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )
    assert done.returncode == 78, (done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_wrong_file_of_secrets_ends_every_program_with_78(program: str, tmp_path: Path) -> None:
    (tmp_path / "VOCERO_REDIS_URL").write_text("http://:hunter2@redis")
    said = refusal(PROGRAMS[program], VOCERO_SECRETS_FOLDER=str(tmp_path))
    assert said.endswith(
        "VOCERO_REDIS_URL: must be redis://, rediss:// or unix://, and where it is, and is an address that begins with"
        " http:// and has a user's name (from its file)."
    )
    assert "hunter2" not in said


def test_the_service_does_not_start_without_a_key_or_on_a_port_twice() -> None:
    assert refusal(SERVICE).startswith("vocero: ELEVENLABS_API_KEY is not set")
    port = str(free_port())
    said = refusal(SERVICE, ELEVENLABS_API_KEY="x", VOCERO_PORT=port, VOCERO_OPS_PORT=port)
    assert said == "vocero: VOCERO_OPS_PORT and VOCERO_PORT are the same; two listeners need two ports."
