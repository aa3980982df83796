"""A promise: a pool is resized and drained from the dashboard while callers use it, and not one of them notices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from scripts.launcher.waiting import wait_until
from service.storage import AdminRole
from tests.conftest import StartService
from tests.dashboard.dashboards import Client, Dashboard
from tests.servers import RunningService

LIMIT = 30.0
CALLERS = 3
VOICE = "21m00Tcm4TlvDq8ikWAM"


def test_no_caller_notices_that_a_pool_is_resized_and_drained(
    dashboard: Dashboard, start_service: StartService
) -> None:
    service = start_service(
        VOCERO_REDIS_URL=dashboard.parts.settings.redis_url,
        VOCERO_FALLBACK_CHAIN="elevenlabs",
        VOCERO_SPEECH_CONCURRENCY="0",
    )
    operator = dashboard.client(AdminRole.OPERATOR)
    wait_until(lambda: _speech(operator), LIMIT, "the worker's report")
    with callers(service) as statuses:
        wait_until(lambda: len(statuses) > CALLERS, LIMIT, "callers")
        _order(operator, action="resize", min_idle=0, max_size=2)
        wait_until(lambda: _speech(operator)["max_size"] == 2 >= _speech(operator)["size"], LIMIT, "the new size")
        heard = len(statuses)
        wait_until(lambda: len(statuses) > heard + CALLERS, LIMIT, "more callers, who share two connections")
        retired = _speech(operator)["retired"]
        _order(operator, action="drain")
        wait_until(lambda: _speech(operator)["retired"] > retired, LIMIT, "connections of before to be closed")
    assert set(statuses) == {200}


def _order(operator: Client, **wanted: Any) -> None:
    """Order it of all workers, and see that all have done it."""
    given = operator.post("/api/pool/orders", {"pool": "speech", "target": "*", "reason": "a drill", **wanted})
    assert given.status_code == 202
    path = f"/api/orders/{given.get_json()['order_id']}"
    wait_until(lambda: operator.get(path).get_json()["silent"] == [], LIMIT, "every worker's answer")
    answers = operator.get(path).get_json()["answers"]
    assert [answer["is_done"] for answer in answers] == [True], answers


def _speech(operator: Client) -> dict[str, Any]:
    """The pool of speech in sum, as the dashboard tells it; empty while no worker reports."""
    pools = {pool["name"]: pool["total"]["stats"] for pool in operator.get("/api/pool").get_json()["pools"]}
    return pools.get("speech", {})


@contextmanager
def callers(service: RunningService) -> Iterator[list[int]]:
    """Some who ask for speech, one time after the other; the list has what each time was answered."""
    statuses: list[int] = []
    leave = threading.Event()

    def ask_on() -> None:
        url = f"{service.url}/v1/text-to-speech/{VOICE}/stream?output_format=pcm_16000"
        with requests.Session() as session:
            while not leave.is_set():
                answer = session.post(
                    url, json={"text": "Hello."}, headers={"xi-api-key": service.api_key}, timeout=LIMIT
                )
                statuses.append(answer.status_code)

    threads = [threading.Thread(target=ask_on) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        leave.set()
        for thread in threads:
            thread.join()
