"""The ops listener beside real workers: what it adds up, and what it outlives."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scripts.launcher import probes
from scripts.launcher.child import ChildFailedError
from scripts.launcher.waiting import wait_until
from service import __version__
from service.metrics import FailureCause, SecretsState
from service.ports import why_not_free
from tests import servers
from tests.parts import require_program
from tests.servers import ROOT, RunningService, clean_environment, free_port, is_alive

Start = Callable[..., RunningService]
Values = dict[tuple[str, str], float]

FRESH, MISSING = ("vocero_secrets_state", "fresh"), ("vocero_secrets_state", "missing")
TLS = ("vocero_secrets_failures_total", "tls")
READ = ("vocero_secrets_read_timestamp_seconds", "")
VERSION = ("vocero_secrets_version", "")


def start_two_workers(folder: Path, **environment: str) -> RunningService:
    settings = {"VOCERO_WORKERS": "2", "VOCERO_OPS_PORT": str(free_port()), **environment}
    service = servers.start_service(folder, "", settings, application="tests.counting_application:app")
    workers = int(settings["VOCERO_WORKERS"])
    wait_until(lambda: len(service.worker_pids()) == workers)
    if settings["VOCERO_OPS_PORT"] != "0":  # a signal to a worker that is not up yet would be lost
        wait_until(lambda: read(service).get(MISSING) == workers)
    return service


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start gunicorn with two workers, which count what they are told to, and an ops listener."""
    started: list[RunningService] = []

    def start(**environment: str) -> RunningService:
        folder = tmp_path / str(len(started))
        folder.mkdir()
        started.append(start_two_workers(folder, **environment))
        return started[-1]

    yield start
    for service in started:
        service.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One for the tests that end nothing of it; there are secrets in its environment."""
    running = start_two_workers(tmp_path_factory.mktemp("service"), ELEVENLABS_API_KEY="hunter2", VAULT_TOKEN="hunter2")
    yield running
    running.stop()


def get(url: str) -> http.client.HTTPResponse:
    answer = urllib.request.urlopen(url, timeout=10)
    assert isinstance(answer, http.client.HTTPResponse)
    return answer


def exposed(service: RunningService) -> str:
    with get(f"{service.ops_url}/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.read().decode()


def read(service: RunningService) -> Values:
    """The samples, by name and label (ours have one at most)."""
    return {
        (sample.name, ",".join(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposed(service))
        for sample in family.samples
    }


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def tell(service: RunningService, worker: int, what: str) -> None:
    """Have this very worker answer: the others are held meanwhile."""
    others = [pid for pid in service.worker_pids() if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda pid=pid: is_stopped(pid))  # type: ignore[misc]
    try:
        with get(f"{service.url}{what}") as answer:
            assert answer.read() == str(worker).encode()
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def tell_all(service: RunningService, what: str) -> None:
    for worker in service.worker_pids():
        tell(service, worker, what)


def ops_pid(service: RunningService) -> int:
    wait_until(lambda: service.ops_pid() is not None)
    pid = service.ops_pid()
    assert pid is not None
    return pid


def files_folder(service: RunningService) -> Path:
    return Path(Path(f"/proc/{ops_pid(service)}/cmdline").read_text().split("\0")[-2])


def test_it_adds_up_what_all_workers_say(service: RunningService) -> None:
    before = read(service)[TLS]
    one, other = service.worker_pids()
    tell(service, one, "/failed?cause=tls")
    tell(service, other, "/failed?cause=tls")
    tell(service, other, "/failed?cause=tls")
    tell(service, one, "/are?state=fresh")
    tell(service, other, "/are?state=stale")
    tell(service, one, "/read?at=2000&version=8")
    tell(service, other, "/read?at=1000&version=7")
    tell(service, one, "/token?at=3000")
    values = read(service)
    assert values[TLS] == before + 3
    states = {state: values["vocero_secrets_state", state] for state in SecretsState}
    assert states == {"missing": 0, "fresh": 1, "stale": 1, "expired": 0}
    assert (values[READ], values[VERSION]) == (1000, 7), "what is true of the worst worker"
    assert values["vocero_vault_token_expiry_timestamp_seconds", ""] == 3000, "the other has none that ends"
    assert values["vocero_build_info", __version__] == 1
    assert {cause for name, cause in values if name == TLS[0]} == set(FailureCause)


def test_what_it_tells_is_as_prometheus_wants_it(service: RunningService) -> None:
    promtool = require_program("promtool", remedy="apt-get install prometheus")
    text = exposed(service)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_killed_worker_takes_its_gauges_along_and_no_counter_goes_down(start: Start) -> None:
    service = start()
    tell_all(service, "/failed?cause=tls")
    tell_all(service, "/are?state=fresh")
    tell_all(service, "/read?at=1000&version=7")
    folder = files_folder(service)
    victim = service.worker_pids()[0]
    tell(service, victim, "/read?at=500&version=6")
    seen = [read(service)]
    assert (seen[0][TLS], seen[0][FRESH], seen[0][READ]) == (2, 2, 500)
    files = sorted(folder.iterdir())
    os.kill(victim, signal.SIGKILL)

    def is_replaced() -> bool:
        seen.append(read(service))
        return seen[-1][MISSING] == 1

    wait_until(is_replaced, 20)
    assert (seen[-1][FRESH], seen[-1][READ]) == (1, 0), "the new worker has read nothing yet"
    assert {values[TLS] for values in seen} == {2}
    assert {values[READ] for values in seen} <= {500, 1000, 0}
    tell_all(service, "/failed?cause=tls")
    assert read(service)[TLS] == 4, "the new worker counts on from where the old one stopped"
    assert sorted(folder.iterdir()) == files, "and in the same files"


def test_a_worker_that_is_not_replaced_is_not_told_of_any_more(start: Start) -> None:
    service = start()
    tell_all(service, "/failed?cause=tls")
    tell_all(service, "/are?state=fresh")
    os.kill(service.child.pid, signal.SIGTTOU)  # one worker less
    wait_until(lambda: read(service)[FRESH] == 1)
    assert read(service)[TLS] == 2


def test_it_answers_while_no_worker_does(service: RunningService) -> None:
    tell_all(service, "/are?state=fresh")
    workers = service.worker_pids()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: all(is_stopped(pid) for pid in workers))
        assert read(service)[FRESH] == 2
        assert probes.answers(f"{service.ops_url}/livez")
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)


def test_it_tells_the_version_as_the_service_does(service: RunningService) -> None:
    with get(f"{service.ops_url}/version") as answer:
        assert json.load(answer)["version"] == __version__


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_the_master_however_that_ends(start: Start, number: signal.Signals) -> None:
    service = start()
    pid, folder, workers = ops_pid(service), files_folder(service), service.worker_pids()
    assert folder.stat().st_mode & 0o777 == 0o700
    os.kill(service.child.pid, number)
    wait_until(lambda: service.child.exit_code is not None, 20)
    wait_until(lambda: not any(is_alive(each) for each in (pid, *workers)), 20)
    assert why_not_free("127.0.0.1", int(service.environment["VOCERO_OPS_PORT"])) is None
    assert "Traceback" not in service.log()
    assert '"exception"' not in service.log()
    if number == signal.SIGKILL:
        start(VOCERO_WORKERS="1")  # which removes what nobody uses any more
    assert not folder.exists()


def test_another_service_leaves_its_files_alone(start: Start) -> None:
    service = start(VOCERO_WORKERS="1")
    tell_all(service, "/failed?cause=tls")
    start(VOCERO_WORKERS="1")
    assert read(service)[TLS] == 1


def test_no_worker_holds_its_port_which_would_not_be_free_after_a_kill(service: RunningService) -> None:
    descriptor = Path(f"/proc/{ops_pid(service)}/cmdline").read_text().split("\0")[3]
    listening = Path(f"/proc/{ops_pid(service)}/fd/{descriptor}").readlink()
    assert str(listening).startswith("socket:")
    for worker in service.worker_pids():
        assert listening not in {held.readlink() for held in Path(f"/proc/{worker}/fd").iterdir() if held.is_symlink()}


def test_when_it_is_killed_another_one_tells_the_same(start: Start) -> None:
    service = start()
    tell_all(service, "/failed?cause=tls")
    pid = ops_pid(service)
    os.kill(pid, signal.SIGKILL)
    assert read(service)[TLS] == 2, "asked in the gap, answered by the next one"
    assert ops_pid(service) != pid
    service.wait_for_log("The ops listener ended; it is started again.")


def test_a_reload_keeps_the_counts_and_the_gauges_are_those_of_the_new_workers(start: Start) -> None:
    service = start()
    tell_all(service, "/failed?cause=tls")
    tell_all(service, "/are?state=fresh")
    before = service.worker_pids()
    os.kill(service.child.pid, signal.SIGHUP)
    wait_until(lambda: not any(is_alive(pid) for pid in before), 40)
    wait_until(lambda: (read(service)[MISSING], read(service)[FRESH]) == (2, 0), 20)
    assert read(service)[TLS] == 2


def test_a_port_that_is_taken_ends_the_start_with_one_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ChildFailedError) as caught:
            start(VOCERO_OPS_PORT=str(port))
    assert str(caught.value).split("\n")[1:] == [
        f"  | vocero: Port {port} on 127.0.0.1 is taken: VOCERO_OPS_PORT chooses another, 0 does without."
    ]


def test_one_port_for_both_listeners_ends_the_start_with_one_line(start: Start) -> None:
    port = str(free_port())
    with pytest.raises(ChildFailedError) as caught:
        start(VOCERO_OPS_PORT=port, VOCERO_PORT=port)
    assert len(str(caught.value).split("\n")) == 2
    assert "VOCERO_OPS_PORT and VOCERO_PORT are the same" in str(caught.value)


def test_without_it_workers_count_in_their_memory(start: Start) -> None:
    service = start(VOCERO_OPS_PORT="0")
    tell_all(service, "/failed?cause=tls")
    assert service.ops_pid() is None
    for pid in service.worker_pids():
        assert "vocero-metrics" not in Path(f"/proc/{pid}/maps").read_text()


def test_it_is_not_given_what_the_service_has_in_its_environment(service: RunningService) -> None:
    assert "hunter2" in Path(f"/proc/{service.child.pid}/environ").read_text()
    assert "hunter2" not in Path(f"/proc/{ops_pid(service)}/environ").read_text()


def test_the_master_does_not_import_what_a_worker_must_patch_first() -> None:
    code = "import service.gunicorn_conf, sys; print('prometheus_client' in sys.modules, 'urllib3' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(ELEVENLABS_API_KEY="no key"),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "False False\n"
