"""A real service as Prometheus, a load balancer and an operator see it on the ops listener."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from scripts.launcher.waiting import wait_until
from service import __version__
from tests import servers
from tests.conftest import StartService
from tests.parts import require_program
from tests.servers import READY_SECONDS, RunningService, clean_environment, free_port

LIMIT = 20.0
MOST_SERIES = 2000
HTTP = "vocero_http_request_duration_seconds_count"
VOICE = "21m00Tcm4TlvDq8ikWAM"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class OwnValkey:
    """A Valkey that a test may stop and start again; it keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self._socket = valkey.socket_path(folder)
        self.url = valkey.redis_url(self._socket)
        command = [*valkey.server_command(folder, self._socket), "--appendonly", "no"]
        self._child = Child(
            "Valkey", command, environment=clean_environment(), log_path=folder / "valkey.log", folder=folder
        )

    def start(self) -> None:
        self._child.start()
        self._child.wait_until_ready(lambda: probes.accepts(str(self._socket)), READY_SECONDS)

    def stop(self) -> None:
        self._child.stop()


@pytest.fixture(scope="module")
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnValkey]:
    running = OwnValkey(tmp_path_factory.mktemp("valkey"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def running_service(
    tmp_path_factory: pytest.TempPathFactory, service_settings: dict[str, str], api_key: str, own_valkey: OwnValkey
) -> Iterator[RunningService]:
    settings = {
        **service_settings,
        "VOCERO_OPS_PORT": str(free_port()),
        "VOCERO_WORKERS": "2",
        "VOCERO_REDIS_URL": own_valkey.url,
        "VOCERO_FALLBACK_CHAIN": "elevenlabs,local",
    }
    running = servers.start_service(tmp_path_factory.mktemp("service"), api_key, settings)
    yield running
    running.discard()


@pytest.fixture
def service(running_service: RunningService) -> RunningService:
    """With two workers, an ops listener, and the default chain of who speaks: leave it as it was, and ready."""
    wait_until(lambda: workers(running_service)["ready"] == 2, LIMIT, "both workers are ready")
    return running_service


def ask(url: str) -> tuple[int, dict[str, Any]]:
    answer = requests.get(url, timeout=LIMIT)
    return answer.status_code, answer.json()


def workers(service: RunningService) -> dict[str, int]:
    found: dict[str, int] = ask(f"{service.ops_url}/readyz")[1]["workers"]
    return found


def exposed(service: RunningService) -> str:
    return requests.get(f"{service.ops_url}/metrics", timeout=LIMIT).text


def read(service: RunningService) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposed(service))
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0.0)


def answered(samples: Samples, endpoint: str, method: str, status: str) -> float:
    return value(samples, HTTP, endpoint=endpoint, method=method, status=status)


def test_what_a_fresh_service_tells_is_as_prometheus_wants_it_and_not_too_much(service: RunningService) -> None:
    text = exposed(service)
    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert 300 < len(series) < MOST_SERIES
    assert len(series) == len({line.rpartition(" ")[0] for line in series})
    promtool = require_program("promtool", remedy="apt-get install prometheus")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

    samples = read(service)
    assert value(samples, "vocero_workers") == 2 <= value(samples, "vocero_worker_starts_total")
    assert value(samples, "vocero_metrics_unreadable_files") == 0
    for dependency in ("redis", "database", "secrets"):
        assert value(samples, "vocero_dependency_up", dependency=dependency) == 1
    assert value(samples, "vocero_redis_seconds_count", use="other") > 0
    assert value(samples, "vocero_database_seconds_count") > 0
    ticks = value(samples, "vocero_event_loop_ticks_total")
    wait_until(lambda: value(read(service), "vocero_event_loop_ticks_total") > ticks, LIMIT, "the loops tick")

    status, said = ask(f"{service.ops_url}/version")
    assert (status, said["version"], said["schema"]["code"]) == (200, __version__, said["schema"]["database"])
    status, said = ask(f"{service.ops_url}/readyz")
    assert (status, said["status"], said["workers"]["answering"]) == (200, "ok", 2)
    assert said["dependencies"]["redis"] == {"ok": 2, "failing": 0, "reason": None}


def test_http_is_measured_by_endpoint_and_nobody_can_make_series_up(service: RunningService) -> None:
    key = {"xi-api-key": service.api_key}
    speech = f"{service.url}/v1/text-to-speech"
    before = read(service)
    assert requests.get(f"{service.url}/", timeout=LIMIT).status_code == 200
    assert requests.head(f"{service.url}/", timeout=LIMIT).status_code == 200
    assert requests.get(f"{service.url}/metrics", timeout=LIMIT).status_code == 404
    for number in range(20):
        requests.request(f"BREW{number}", f"{service.url}/{number}", timeout=LIMIT)
    assert requests.post(f"{speech}/{VOICE}/stream", json={"text": "Hi."}, headers=key, timeout=LIMIT).ok
    assert requests.post(f"{speech}/nobody", json={"text": "Hi."}, headers=key, timeout=LIMIT).status_code == 404
    with connect(f"{service.ws_url}/v1/convai/conversation?agent_id=agent_text", close_timeout=1) as client:
        client.send('{"type": "conversation_initiation_client_data"}')
        client.recv(LIMIT)
    after = read(service)
    new = {key: number - before.get(key, 0.0) for key, number in after.items() if key[0] == HTTP}
    assert {tuple(sorted(dict(labels).values())): number for (_, labels), number in new.items() if number} == {
        ("2xx", "GET", "chat.page"): 2,
        ("4xx", "GET", "other"): 1,
        ("4xx", "other", "other"): 20,
        ("2xx", "POST", "speech.STREAM"): 1,
        ("4xx", "POST", "speech.FULL"): 1,
    }
    slow = "vocero_http_request_duration_seconds_sum"
    labels = {"endpoint": "speech.FULL", "method": "POST", "status": "4xx"}
    assert value(after, slow, **labels) > 0.001, "what ElevenLabs took for its answer is part of it"
    assert value(after, "vocero_label_values_rejected_total") == 0


def test_readiness_says_which_dependency_is_away_and_that_it_is_back(
    service: RunningService, own_valkey: OwnValkey
) -> None:
    own_valkey.stop()
    wait_until(lambda: ask(f"{service.ops_url}/readyz")[0] == 503, LIMIT, "it is noticed")
    wait_until(lambda: workers(service)["ready"] == 0)
    said = ask(f"{service.ops_url}/readyz")[1]
    assert said["redis"] == said["dependencies"]["redis"]["reason"] == "ConnectionError"
    assert (said["database"], said["secrets"], said["workers"]["answering"]) == ("ok", "ok", 2)
    assert ask(f"{service.url}/readyz") == (
        503,
        {"status": "unavailable", "redis": "ConnectionError", "database": "ok", "secrets": "ok", "draining": False,
         "maintenance": None},
    )  # fmt: skip
    wait_until(lambda: value(read(service), "vocero_dependency_up", dependency="redis") == 0)
    assert value(read(service), "vocero_dependency_up", dependency="database") == 1
    assert value(read(service), "vocero_redis_errors_total") > 0
    own_valkey.start()
    wait_until(lambda: workers(service)["ready"] == 2, LIMIT, "both are ready again")
    assert value(read(service), "vocero_dependency_up", dependency="redis") == 1


def test_a_worker_that_hangs_or_dies_is_not_believed_and_what_was_counted_stays(service: RunningService) -> None:
    one, other = service.worker_pids()
    before = read(service)
    stalls = "vocero_event_loop_stall_seconds_sum"
    os.kill(one, signal.SIGSTOP)
    os.kill(other, signal.SIGSTOP)
    try:
        wait_until(lambda: workers(service)["answering"] == 0, LIMIT, "both are silent")
        status, said = ask(f"{service.ops_url}/readyz")
        assert (status, said["reason"]) == (503, "no worker answers")
        assert value(read(service), "vocero_workers") == 2, "metrics are answered all the same"
    finally:
        for pid in (one, other):
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: workers(service)["ready"] == 2, LIMIT, "both are back")
    late = value(before, stalls) + 5
    wait_until(lambda: value(read(service), stalls) > late, LIMIT, "their loops were late")

    os.kill(one, signal.SIGKILL)
    starts = value(before, "vocero_worker_starts_total") + 1
    wait_until(lambda: value(read(service), "vocero_worker_starts_total") == starts, LIMIT, "another one starts")
    wait_until(lambda: workers(service)["ready"] == 2, LIMIT, "and is ready")
    samples = read(service)
    assert value(samples, "vocero_workers") == 2
    assert value(samples, stalls) > late, "what the dead one counted"


def test_a_service_that_leaves_says_so_until_the_end(start_service: StartService) -> None:
    service = start_service(VOCERO_OPS_PORT=str(free_port()))
    wait_until(lambda: workers(service)["ready"] == 1, LIMIT, "it is ready")
    with connect(f"{service.ws_url}/v1/convai/conversation?agent_id=agent_text", close_timeout=1) as client:
        client.send('{"type": "conversation_initiation_client_data"}')
        client.recv(LIMIT)
        wait_until(lambda: workers(service)["conversations"] == 1)
        assert workers(service)["capacity"] > 100
        client.send('{"type": "user_message", "text": "Tell me a long story."}')
        service.child.ask_to_stop()

        def has_said_so() -> bool:
            try:
                status, said = ask(f"{service.ops_url}/readyz")
            except requests.RequestException:
                pytest.fail("it has ended without having said that it leaves")
            return status == 503 and said["workers"]["draining"] > 0

        wait_until(has_said_so, LIMIT, "it leaves")
