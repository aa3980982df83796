"""Workers that leave under gunicorn, by a signal, a reload or the number of their requests: all in the same way."""

from __future__ import annotations

import http.client
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from scripts.launcher.waiting import wait_until
from tests import servers
from tests.servers import RunningService, is_alive

LIMIT = 60.0
Start = Callable[..., RunningService]


def get(service: RunningService, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=LIMIT)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[RunningService] = []

    def start(*, workers: int = 1, turn: float = 30.0, arguments: str = "") -> RunningService:
        environment = {
            "ELEVENLABS_API_KEY": "none",
            "VOCERO_WORKERS": str(workers),
            "VOCERO_DRAIN_TURN_SECONDS": str(turn),
            "VOCERO_RECONNECT_SPREAD_SECONDS": "4",
            "GUNICORN_CMD_ARGS": f"--log-level info {arguments}",
        }
        folder = tmp_path / str(len(started))
        folder.mkdir()
        application = "tests.leaving_application:app"
        started.append(servers.start_service(folder, "", environment, application=application))
        return started[-1]

    yield start
    for service in started:
        service.discard()


@pytest.fixture
def talks() -> Iterator[Callable[[RunningService, int, float], list[Future[str]]]]:
    """Begin so many conversations, whose turn takes so long once their worker leaves."""
    with ThreadPoolExecutor(32) as pool:

        def begin(service: RunningService, count: int, turn: float) -> list[Future[str]]:
            futures = [pool.submit(lambda: get(service, f"/talk?turn={turn}")[1]) for _ in range(count)]
            wait_until(lambda: get(service, "/talks")[1] == str(count), LIMIT, "all talk")
            return futures

        yield begin


def test_a_turn_may_end_while_nobody_new_is_taken_and_readiness_is_red(start: Start, talks) -> None:
    service = start()
    assert readiness(service) == (200, "ok")
    talking = talks(service, 10, 1.5)
    service.child.ask_to_stop()
    wait_until(lambda: readiness(service) != (200, "ok"), LIMIT, "readiness is red")
    assert not any(talk.done() for talk in talking)
    answers = [talk.result(LIMIT) for talk in talking]
    assert all(answer.startswith("drained ") for answer in answers)
    hints = sorted(float(answer.split()[1]) for answer in answers)
    assert hints == pytest.approx([0.2 + 0.4 * tenth for tenth in range(10)], abs=0.21)  # one in each tenth of 4 s
    service.child.stop()
    assert service.child.exit_code == 0
    assert "graceful timeout" not in service.log()


def readiness(service: RunningService) -> tuple[int, str]:
    try:
        return get(service, "/readyz")
    except (OSError, http.client.HTTPException):
        return 0, "refused"


def test_a_turn_that_does_not_end_is_ended_in_time(start: Start, talks) -> None:
    service = start(turn=0.5)
    talking = talks(service, 3, LIMIT)
    began = time.monotonic()
    service.child.ask_to_stop()
    assert [talk.result(LIMIT) for talk in talking] == ["1012"] * 3
    service.child.stop()
    assert service.child.exit_code == 0
    assert time.monotonic() - began < 16  # VOCERO_DRAIN_TURN_SECONDS and 15 s are what operators are told
    assert "graceful timeout" not in service.log()


def test_one_worker_or_all_of_them_are_replaced_in_the_same_way(start: Start, talks) -> None:
    service = start()
    for told, number in (
        (lambda: service.worker_pids()[0], signal.SIGTERM),
        (lambda: service.child.pid, signal.SIGHUP),
    ):
        (old,) = service.worker_pids()
        talking = talks(service, 5, 0.2)
        os.kill(told(), number)
        assert all(talk.result(LIMIT).startswith("drained ") for talk in talking)
        wait_until(lambda: not is_alive(old) and service.worker_pids(), LIMIT, "it is replaced")  # noqa: B023
        wait_until(lambda: readiness(service) == (200, "ok"), LIMIT)


def test_a_worker_that_has_served_enough_requests_leaves_in_the_same_way(start: Start, talks) -> None:
    service = start(arguments="--max-requests 10")
    (old,) = service.worker_pids()
    talking = talks(service, 3, 0.2)
    while is_alive(old) and "and is replaced" not in service.log():
        readiness(service)
    assert all(talk.result(LIMIT).startswith("drained ") for talk in talking)
    wait_until(lambda: not is_alive(old) and service.worker_pids(), LIMIT, "it is replaced")
