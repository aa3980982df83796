"""The service as an operator meets it: under gunicorn, started, refused, stopped."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from scripts.launcher import probes
from scripts.launcher.child import ChildFailedError
from scripts.launcher.waiting import wait_until
from tests.conftest import StartService
from tests.servers import ROOT, RunningService, clean_environment, is_alive


def test_it_serves_its_page_and_knows_its_keys(service: RunningService) -> None:
    assert probes.answers(f"{service.url}/")
    request = urllib.request.Request(
        f"{service.url}/v1/convai/conversation/get-signed-url?agent_id=agent_demo",
        headers={"xi-api-key": service.api_key},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["signed_url"].startswith(f"{service.ws_url}/v1/convai/conversation?")
    assert service.api_key not in service.log()


def test_sigterm_ends_it_with_all_its_workers(start_service: StartService) -> None:
    service = start_service(VOCERO_WORKERS="2")
    wait_until(lambda: len(service.worker_pids()) == 2)
    workers = service.worker_pids()
    assert service.stop() == 0
    wait_until(lambda: not any(is_alive(pid) for pid in workers))


def test_a_killed_worker_is_replaced(start_service: StartService) -> None:
    service = start_service()
    (worker,) = service.worker_pids()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: service.worker_pids() not in ([], [worker]))
    wait_until(lambda: probes.answers(f"{service.url}/livez"), 20)


def test_it_refuses_to_start_on_a_database_without_its_schema(start_service: StartService, tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match="no schema yet; run: python -m migrations upgrade"):
        start_service(VOCERO_DATABASE_URL=f"sqlite:///{tmp_path}/empty.db")


def test_a_wrong_setting_ends_it_with_one_line(start_service: StartService) -> None:
    with pytest.raises(ChildFailedError) as caught:
        start_service(VOCERO_IDLE_SECONDS="hunter2")
    lines = str(caught.value).split("\n")
    assert lines[1:] == [
        "  | vocero: VOCERO_IDLE_SECONDS: must be a number above 0, 3600 at most, and is text of 7 characters."
    ]


def test_a_worker_may_open_a_socket_to_elevenlabs_for_each_of_its_connections(start_service: StartService) -> None:
    """The usual limit of 1024 open files ends at some 500 conversations, long before VOCERO_WORKER_CONNECTIONS."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        service = start_service(VOCERO_WORKER_CONNECTIONS="1000")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limits = Path(f"/proc/{service.worker_pids()[0]}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert int(line.split()[3]) >= 2000


def test_what_a_worker_has_imported_is_not_looked_through_for_rubbish() -> None:
    """A full collection looks at all that is not frozen, and silences every conversation meanwhile (0.6 s seen)."""
    code = "import gc, service.gunicorn_conf as conf; from types import SimpleNamespace as N\n"
    code += (
        "conf.post_fork(N(ops=None, quality=None, roll=N(up=lambda _: None)), N(place=0)); assert not gc.isenabled()\n"
    )
    code += "conf.post_worker_init(N(alive=True, place=0, roll=N(up=lambda _: None))); assert gc.isenabled()\n"
    code += "print(gc.get_freeze_count() > 10_000, len(gc.get_objects()) < 1000)"
    environment = clean_environment(ELEVENLABS_API_KEY="none")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "True True\n", done.stderr
