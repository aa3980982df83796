"""An admin's switches, as a conversation feels them: at the next turn, on every worker, and only as long as ordered."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import redis
import requests

from migrations import runner
from scripts.launcher.waiting import wait_until
from service.fallback.overrides import OverrideBoard
from service.pool_reports import list_reports
from service.storage import ApiKeys, Capability, OverrideMode, Overrides, open_database
from tests import servers
from tests.conftest import NewRedis
from tests.integration.failover.conftest import PATIENT, Dial
from tests.servers import RunningSandbox, RunningService


class Admin:
    """Sets overrides as the dashboard does: from another process than the service's."""

    def __init__(self, board: OverrideBoard, overrides: Overrides, store: redis.Redis) -> None:
        self._board = board
        self._overrides = overrides
        self._store = store

    def order(
        self, mode: OverrideMode, *, seconds: float = 600.0, capability: Capability = Capability.CONVERSATION
    ) -> None:
        """Returns when the worker says that it obeys."""
        made = self._board.set(
            capability,
            mode,
            reason="a test",
            author="ana",
            expected_version=self._overrides.get(capability).version,
            seconds=seconds,
        )
        wait_until(lambda: [each.modes[capability] for each in list_reports(self._store)] == [made.version], 10.0)


@pytest.fixture(scope="module")
def own_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    running = servers.start_sandbox(tmp_path_factory.mktemp("ordered"))
    yield running
    running.child.stop()


@pytest.fixture(scope="module")
def service(
    own_sandbox: RunningSandbox,
    tmp_path_factory: pytest.TempPathFactory,
    service_settings: dict[str, str],
    new_redis: NewRedis,
) -> Iterator[RunningService]:
    """For all of these, with a database and a Redis that no other service obeys; each test leaves no override."""
    folder = tmp_path_factory.mktemp("obeying")
    ours = {
        "ELEVENLABS_BASE_URL": own_sandbox.url,
        "VOCERO_DATABASE_URL": f"sqlite:///{folder}/vocero.db",
        "VOCERO_REDIS_URL": new_redis(),
    }
    runner.upgrade(ours["VOCERO_DATABASE_URL"])
    database = open_database(ours["VOCERO_DATABASE_URL"], busy_seconds=20)
    _, key = ApiKeys(database).create("tests")
    database.close()
    running = servers.start_service(folder, key, {**service_settings, **ours, **PATIENT})
    yield running
    running.stop()


@pytest.fixture
def admin(service: RunningService) -> Iterator[Admin]:
    database = open_database(service.environment["VOCERO_DATABASE_URL"], busy_seconds=20)
    with redis.Redis.from_url(service.environment["VOCERO_REDIS_URL"], socket_timeout=5) as store:
        admin = Admin(OverrideBoard(database, store), Overrides(database), store)
        yield admin
        for capability in Capability:
            admin.order(OverrideMode.AUTO, capability=capability)
    database.close()


def conversations_at(sandbox: RunningSandbox) -> int:
    return len(requests.get(f"{sandbox.url}/sandbox/conversations", timeout=10).json())


def speeches_at(sandbox: RunningSandbox) -> int:
    return int(requests.get(f"{sandbox.url}/sandbox/stats", timeout=10).json()["characters"])


def test_a_conversation_moves_between_two_turns_and_comes_back(
    service: RunningService, admin: Admin, dial: Dial
) -> None:
    talk = dial(service)
    talk.until("agent_response")
    admin.order(OverrideMode.FORCED_FALLBACK)
    moved = talk.until("agent_changed")["agent_changed_event"]
    assert moved == {"from": "elevenlabs", "to": "local", "cause": "forced", "spliced": False}
    talk.ask("Where is the shop?")
    assert talk.until("agent_response")["agent_response_event"]["agent_response"]

    admin.order(OverrideMode.AUTO)
    back = talk.until("agent_changed")["agent_changed_event"]
    assert back == {"from": "local", "to": "elevenlabs", "cause": "returned", "spliced": False}
    talk.ask("Where is the shop?")
    answer = talk.until("agent_response")["agent_response_event"]
    assert "Harbour" in answer["agent_response"] or "street" in answer["agent_response"].lower()
    ids = [event["audio_event"]["event_id"] for event in talk.events if event["type"] == "audio"]
    assert ids == sorted(ids), "ids rise over all legs"
    assert sum(event["type"] == "conversation_initiation_metadata" for event in talk.events) == 1
    greetings = [event for event in talk.events if "demo shop" in json.dumps(event.get("agent_response_event", {}))]
    assert len(greetings) == 1, "nobody is greeted twice"


def test_while_the_fallback_is_forced_elevenlabs_is_not_asked(
    service: RunningService, own_sandbox: RunningSandbox, admin: Admin, dial: Dial
) -> None:
    admin.order(OverrideMode.FORCED_FALLBACK)
    before = conversations_at(own_sandbox)
    talk = dial(service)
    greeting = talk.until("agent_response")["agent_response_event"]["agent_response"]
    assert "stand-in" in greeting
    assert conversations_at(own_sandbox) == before


def test_a_switched_off_service_says_so_politely_and_ends(service: RunningService, admin: Admin, dial: Dial) -> None:
    running = dial(service)
    running.until("agent_response")
    admin.order(OverrideMode.DISABLED)
    assert "cannot talk" in running.until("agent_response")["agent_response_event"]["agent_response"]
    assert running.closed()[0] == 1000

    late = dial(service)
    assert late.until("conversation_initiation_metadata")
    assert "cannot talk" in late.until("agent_response")["agent_response_event"]["agent_response"]
    assert late.closed()[0] == 1000


def test_an_override_ends_by_itself(service: RunningService, admin: Admin, dial: Dial) -> None:
    talk = dial(service)
    talk.until("agent_response")
    admin.order(OverrideMode.FORCED_FALLBACK, seconds=5.0)
    assert talk.until("agent_changed")["agent_changed_event"]["cause"] == "forced"
    assert talk.until("agent_changed")["agent_changed_event"]["cause"] == "returned"


def test_speech_obeys_too(service: RunningService, own_sandbox: RunningSandbox, admin: Admin) -> None:
    url = f"{service.url}/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM"

    def speak() -> requests.Response:
        return requests.post(url, json={"text": "Good morning."}, headers={"xi-api-key": service.api_key}, timeout=20)

    assert speak().ok
    admin.order(OverrideMode.DISABLED, capability=Capability.SPEECH)
    refused = speak()
    assert refused.status_code == 503
    assert "Speech is switched off" in refused.text

    admin.order(OverrideMode.FORCED_FALLBACK, capability=Capability.SPEECH)
    before = speeches_at(own_sandbox)
    assert speak().ok
    assert speeches_at(own_sandbox) == before
