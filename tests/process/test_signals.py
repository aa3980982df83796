"""What an operator may send to the service's master and to its workers; it costs no conversation."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.launcher import probes
from scripts.launcher.child import ChildFailedError
from scripts.launcher.waiting import wait_until
from tests import servers
from tests.conftest import StartService
from tests.integration.failover.conftest import Dial, dial  # noqa: F401 (fixture)
from tests.servers import RunningService, free_port, is_alive

LIMIT = 90.0
Start = Callable[..., RunningService]
Talks = Callable[[RunningService, int], list[Future[str]]]


def get(service: RunningService, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=LIMIT)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def talks() -> Iterator[Talks]:
    """Begin so many conversations, which end as soon as their worker leaves."""
    with ThreadPoolExecutor(32) as pool:

        def begin(service: RunningService, count: int) -> list[Future[str]]:
            asked = [pool.submit(get, service, "/talk?turn=0") for _ in range(count)]
            wait_until(lambda: len(talking(service)) >= 1, LIMIT, "they talk")
            return asked

        yield begin


def talking(service: RunningService) -> list[str]:
    return [each for each in (get(service, "/talks") for _ in range(4)) if each != "0"]


def start_one(folder: Path, **environment: str) -> RunningService:
    settings = {
        "ELEVENLABS_API_KEY": "none",
        "VOCERO_WORKERS": "2",
        "VOCERO_OPS_PORT": str(free_port()),
        "TESTS_STARTS": str(folder),
        **environment,
    }
    return servers.start_service(folder, "", settings, application="tests.leaving_application:app")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service of the test's own, whose workers start as files in the test's folder say."""
    started: list[RunningService] = []

    def start(**environment: str) -> RunningService:
        started.append(start_one(tmp_path, **environment))
        return started[-1]

    yield start
    for service in started:
        service.discard()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, Path]]:
    folder = tmp_path_factory.mktemp("signals")
    service = start_one(folder)
    yield service, folder
    service.discard()


@pytest.fixture
def service(shared: tuple[RunningService, Path]) -> RunningService:
    """With two workers that are up, and one master: leave it so."""
    service, folder = shared
    for file in ("hold", "refuse", "crash", "crash-once"):
        (folder / file).unlink(missing_ok=True)
    wait_until(lambda: len(service.worker_pids()) == 2, LIMIT)
    wait_until(lambda: answering(service) == set(service.worker_pids()), LIMIT)
    return service


@pytest.fixture
def starts(shared: tuple[RunningService, Path]) -> Path:
    """Where files say how workers start."""
    return shared[1]


def answering(service: RunningService) -> set[int]:
    return {int(get(service, "/who")) for _ in range(12)}


def send(service: RunningService, number: signal.Signals) -> None:
    os.kill(service.child.pid, number)


def lines(service: RunningService, text: str) -> int:
    return service.log().count(text)


def gone(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(is_alive(pid) for pid in pids)


def test_sighup_lets_the_old_workers_serve_until_the_new_ones_are_up(
    service: RunningService, starts: Path, talks: Talks
) -> None:
    old, ops = service.worker_pids(), service.ops_pid()
    talk = talks(service, 6)
    (starts / "hold").touch()
    send(service, signal.SIGHUP)
    wait_until(lambda: len(service.worker_pids()) == 4, LIMIT, "new ones start")
    assert answering(service) <= set(old), "and meanwhile everybody is served"
    assert not any(each.done() for each in talk)
    (starts / "hold").unlink()
    assert all(each.result(LIMIT).startswith("drained ") for each in talk)
    wait_until(gone(old), LIMIT, "the old ones leave")
    service.wait_for_log("Reloaded: 2 new workers are up, and 2 old ones leave.")
    wait_until(lambda: len(answering(service)) == 2, LIMIT)
    assert service.ops_pid() == ops
    assert probes.answers(f"{service.ops_url}/livez")


@pytest.mark.parametrize("how", ["refuse", "crash", "crash-once"])
def test_when_new_workers_do_not_start_the_old_ones_go_on(
    service: RunningService, starts: Path, talks: Talks, how: str
) -> None:
    old, before = service.worker_pids(), lines(service, "Not reloaded, the old workers go on")
    talk = talks(service, 4)
    (starts / how).touch()
    send(service, signal.SIGHUP)
    wait_until(lambda: lines(service, "Not reloaded, the old workers go on") > before, LIMIT)
    wait_until(lambda: service.worker_pids() == old, LIMIT, "the new ones are gone, also the one that did start")
    if how == "refuse":
        assert "vocero: VOCERO_SOMETHING: as the test wants it." in service.log()
    wait_until(lambda: answering(service) == set(old), LIMIT)
    assert not all(each.done() for each in talk)

    (starts / how).unlink(missing_ok=True)
    send(service, signal.SIGHUP)
    wait_until(gone(old), LIMIT, "once that is mended, it can be reloaded")
    assert all(each.result(LIMIT).startswith("drained ") for each in talk)


def test_a_second_sighup_waits_for_the_first_one(service: RunningService, starts: Path) -> None:
    old, before = service.worker_pids(), lines(service, "Reloaded: 2 new workers")
    (starts / "hold").touch()
    send(service, signal.SIGHUP)
    wait_until(lambda: len(service.worker_pids()) == 4, LIMIT)
    first = [pid for pid in service.worker_pids() if pid not in old]
    send(service, signal.SIGHUP)
    send(service, signal.SIGHUP)
    service.wait_for_log("A reload waits until the workers of the one before have left.", LIMIT)
    assert len(service.worker_pids()) == 4, "never more than two sets"
    (starts / "hold").unlink()
    wait_until(gone([*old, *first]), LIMIT, "both sets are replaced")
    wait_until(lambda: lines(service, "Reloaded: 2 new workers") == before + 2, LIMIT)


def test_sigttou_sends_one_worker_away_and_sigttin_brings_one_back_but_never_more_than_the_settings_say(
    service: RunningService, talks: Talks
) -> None:
    old = service.worker_pids()
    send(service, signal.SIGTTIN)
    service.wait_for_log("SIGTTIN is refused: VOCERO_WORKERS is 2, and so many run.")
    talk = talks(service, 6)
    send(service, signal.SIGTTOU)
    wait_until(gone(old[:1]), LIMIT, "the oldest leaves")
    assert {each.result(LIMIT).split()[0] for each in talk if each.done()} <= {"drained"}
    wait_until(lambda: answering(service) == set(old[1:]), LIMIT)
    send(service, signal.SIGTTOU)
    service.wait_for_log("SIGTTOU is refused: one worker is the least; SIGTERM ends the service.")
    send(service, signal.SIGTTIN)
    wait_until(lambda: len(service.worker_pids()) == 2 and len(answering(service)) == 2, LIMIT)
    assert old[1] in service.worker_pids()
    os.kill(old[1], signal.SIGTERM)  # whose conversations would else outlast the test
    wait_until(lambda: all(each.done() for each in talk), LIMIT)


def test_sigusr2_starts_no_second_master(service: RunningService) -> None:
    workers, ops, before = service.worker_pids(), service.ops_pid(), servers.children_of(service.child.pid)
    send(service, signal.SIGUSR2)
    service.wait_for_log("SIGUSR2 is refused: there is one master.")
    assert servers.children_of(service.child.pid) == before
    assert (service.worker_pids(), service.ops_pid()) == (workers, ops)
    wait_until(lambda: answering(service) == set(workers), LIMIT)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGWINCH], ids=["SIGUSR1", "SIGWINCH"])
def test_what_terminals_and_log_rotation_send_changes_nothing(service: RunningService, number: signal.Signals) -> None:
    before = servers.children_of(service.child.pid)
    for pid in [service.child.pid, *service.worker_pids()]:
        os.kill(pid, number)
    before_refusals = lines(service, "SIGUSR2 is refused")
    send(service, signal.SIGUSR2)  # answered behind the one before
    wait_until(lambda: lines(service, "SIGUSR2 is refused") > before_refusals, LIMIT)
    wait_until(lambda: answering(service) == set(service.worker_pids()), LIMIT)
    assert servers.children_of(service.child.pid) == before


def test_a_worker_that_cannot_be_replaced_is_tried_again_and_the_others_serve_meanwhile(
    service: RunningService, starts: Path
) -> None:
    """gunicorn alone ends all of them when one does not start, as when the database is away for a moment."""
    victim, other = service.worker_pids()
    (starts / "refuse").touch()
    before = lines(service, "VOCERO_SOMETHING")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: lines(service, "VOCERO_SOMETHING") >= before + 1, LIMIT)
    wait_until(lambda: service.worker_pids() == [other], LIMIT)
    wait_until(lambda: answering(service) == {other}, LIMIT)
    (starts / "refuse").unlink()
    wait_until(lambda: len(answering(service)) == 2, LIMIT, "it comes by itself")
    assert other in service.worker_pids()


def test_x_forwarded_proto_of_a_client_on_this_machine_is_not_believed(service: RunningService) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=LIMIT)
    headers = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-SSL": "on",
        "SCRIPT_NAME": "/elsewhere",
        "Connection": "close",
    }
    connection.request("GET", "/scheme", headers=headers)
    assert connection.getresponse().read() == b"http"
    connection.close()


@pytest.mark.parametrize(("how", "code"), [("refuse", 3), ("wrong", 78), ("crash", 3)])
def test_as_long_as_no_worker_has_ever_started_one_that_cannot_ends_the_start(
    start: Start, tmp_path: Path, how: str, code: int
) -> None:
    (tmp_path / how).touch()
    with pytest.raises(ChildFailedError, match=f"ended with code {code}") as caught:
        start(VOCERO_WORKERS="1")
    assert "as the test wants it" in str(caught.value)


def test_a_second_sigterm_hurries_nobody(start: Start, talks: Talks) -> None:
    service = start(VOCERO_WORKERS="1")
    talk = talks(service, 3)
    send(service, signal.SIGTERM)
    send(service, signal.SIGTERM)
    assert all(each.result(LIMIT).startswith("drained ") for each in talk)
    assert service.stop() == 0


def test_sigterm_while_workers_start_ends_the_service_too(tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    settings = {"ELEVENLABS_API_KEY": "none", "VOCERO_PORT": str(free_port()), "VOCERO_OPS_PORT": "0"}
    command = [sys.executable, "-m", "gunicorn", "-c", "service/gunicorn_conf.py", "tests.leaving_application:app"]
    environment = servers.clean_environment(**settings, TESTS_STARTS=str(tmp_path))
    with subprocess.Popen(command, cwd=servers.ROOT, env=environment) as master:
        wait_until(lambda: len(servers.children_of(master.pid)) == 1, LIMIT)
        master.send_signal(signal.SIGTERM)
        (tmp_path / "hold").unlink()
        assert master.wait(30) == 0, "not after the 35 s that conversations would have"


@pytest.mark.parametrize("numbers", [[signal.SIGQUIT], [signal.SIGTERM, signal.SIGINT]], ids=["SIGQUIT", "SIGINT"])
def test_an_emergency_waits_for_no_turn(start: Start, numbers: list[signal.Signals]) -> None:
    service = start(VOCERO_WORKERS="1")
    with ThreadPoolExecutor(1) as pool:
        talk = pool.submit(get, service, "/talk?turn=600")
        wait_until(lambda: get(service, "/talks") == "1", LIMIT)
        for number in numbers:
            send(service, number)
        assert isinstance(talk.exception(LIMIT), OSError | http.client.HTTPException)
    wait_until(lambda: service.child.exit_code is not None, LIMIT)
    assert service.child.exit_code == 0


def test_a_reload_takes_over_what_files_say_and_a_conversation_goes_on_with_a_new_worker(
    start_service: StartService,
    dial: Dial,  # noqa: F811
    tmp_path: Path,
) -> None:
    """The whole service: settings from a folder, of which a wrong one changes nothing."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "VOCERO_PUBLIC_AGENTS").write_text("agent_demo")
    service = start_service(
        VOCERO_SECRETS_FOLDER=str(files),
        VOCERO_PUBLIC_AGENTS="",
        VOCERO_OPS_PORT=str(free_port()),
        VOCERO_RECONNECT_SPREAD_SECONDS="1",
        VOCERO_DRAIN_TURN_SECONDS="10",
    )
    (old,) = service.worker_pids()
    talk = dial(service)
    talk.until("connection_token")

    for file, wrong, said in (
        ("VOCERO_IDLE_SECONDS", "hunter2", "Not reloaded, the workers go on as before: VOCERO_IDLE_SECONDS: must be"),
        ("VOCERO_KEEP", "", "Reloaded: 1 new workers are up, and 1 old ones leave."),
    ):
        (files / "VOCERO_PUBLIC_AGENTS").write_text("agent_demo,agent_text")
        (files / file).write_text(wrong)
        send(service, signal.SIGHUP)
        service.wait_for_log(said, LIMIT)
        assert service.worker_pids()[:1] == [old], "which leaves only now, if at all"
        (files / file).unlink()

    assert talk.closed()[0] == 1012
    shown = [each["connection_token_event"]["token"] for each in talk.events if each["type"] == "connection_token"]
    wait_until(gone([old]), LIMIT)
    back = dial(service, resume={"token": shown[-1], "received": talk.received, "last_event_id": 0})
    back.until("connection_resumed")
    back.ask("How do returns work?")
    back.until("agent_response")
    dial(service, query="agent_id=agent_text&vocero_events=true").until("conversation_initiation_metadata")
    wait_until(lambda: probes.answers(f"{service.ops_url}/readyz"), LIMIT)
    assert "hunter2" not in service.log()
