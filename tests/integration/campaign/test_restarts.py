"""Nodes are replaced and reloaded, and workers killed, while people talk: nobody's conversation ends, no entry is lost.

The long run is `python -m soak restarts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from migrations import runner
from service.storage import Database, open_database
from soak.service_log import failures_in
from tests.campaign.campaign import SANDBOX_OPTIONS, SERVICE_SETTINGS
from tests.campaign.crowd import Crowd
from tests.campaign.nodes import Nodes
from tests.conftest import StartSandbox, StartService
from tests.parts import require_module
from tests.servers import RunningService

CALLERS = 10
PAUSE_SECONDS = 1.0
SETTINGS = {
    **SERVICE_SETTINGS,
    "VOCERO_WORKERS": "1",  # of each node: `python -m soak restarts` has several
    "VOCERO_DRAIN_TURN_SECONDS": "2",
    "VOCERO_RECONNECT_SPREAD_SECONDS": "1",
}
StartNode = Callable[[], RunningService]


@pytest.fixture
def database_file(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/restarts.db"
    runner.upgrade(url)
    return url


@pytest.fixture
def database(database_file: str) -> Iterator[Database]:
    opened = open_database(database_file)
    yield opened
    opened.close()


@pytest.fixture
def start_node(start_service: StartService, start_sandbox: StartSandbox, database_file: str) -> StartNode:
    """Start a node; all share Redis, the database and the sandbox."""
    require_module("espeakng_loader", "local")
    sandbox = start_sandbox(*SANDBOX_OPTIONS)
    shared: dict[str, str] = {}

    def start() -> RunningService:
        node = start_service(
            ELEVENLABS_BASE_URL=sandbox.url, VOCERO_DATABASE_URL=database_file, **{**SETTINGS, **shared}
        )
        shared["VOCERO_REDIS_URL"] = node.environment["VOCERO_REDIS_URL"]
        return node

    return start


def test_a_rolling_restart_ends_no_conversation(start_node: StartNode, database: Database) -> None:
    with Nodes(start_node, count=2) as nodes, Crowd(nodes.url, CALLERS, seed=1, pause_seconds=PAUSE_SECONDS) as crowd:
        assert nodes.replace() == 0
        nodes.reload()
        crowd.wait_until_all_went_on()
        result = crowd.finish()
        assert result.problems == []
        assert {loss.code for loss in result.losses} == {1012}
        assert crowd.problems_at_last(database) == []
        assert [failures_in(node.log_path) for node in nodes.logs()] == [[]] * 3


def test_a_worker_that_is_killed_takes_no_conversation_with_it(start_node: StartNode, database: Database) -> None:
    with Nodes(start_node, count=1) as nodes, Crowd(nodes.url, CALLERS, seed=2, pause_seconds=PAUSE_SECONDS) as crowd:
        nodes.kill_all_workers()  # one of them may just have led nobody's conversation
        crowd.wait_until_all_went_on()
        result = crowd.finish()
        assert result.problems == []
        assert result.losses
        assert crowd.problems_at_last(database) == []
        assert failures_in(nodes.running[0].log_path) == []
