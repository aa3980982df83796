"""An admin's switches, as a conversation feels them: at the next turn, on every worker, and only as long as ordered."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest
import redis

from service.fallback.overrides import OverrideBoard
from service.storage import Capability, OverrideMode, Overrides, open_database
from tests.conftest import StartSandbox, StartService
from tests.integration.failover.conftest import PATIENT, Dial
from tests.servers import RunningSandbox, RunningService


class Admin:
    """Sets overrides as the dashboard does: from another process than the service's."""

    def __init__(self, board: OverrideBoard, version: int) -> None:
        self._board = board
        self._version = version

    def order(self, mode: OverrideMode, *, seconds: float = 600.0) -> None:
        self._version = self._board.set(
            Capability.CONVERSATION,
            mode,
            reason="a test",
            author="ana",
            expected_version=self._version,
            seconds=seconds,
        ).version


@pytest.fixture
def own_sandbox(start_sandbox: StartSandbox) -> RunningSandbox:
    return start_sandbox()


@pytest.fixture
def service(own_sandbox: RunningSandbox, start_service: StartService, database_url: str) -> RunningService:
    return start_service(ELEVENLABS_BASE_URL=own_sandbox.url, VOCERO_DATABASE_URL=database_url, **PATIENT)


@pytest.fixture
def admin(service: RunningService) -> Iterator[Admin]:
    database = open_database(service.environment["VOCERO_DATABASE_URL"], busy_seconds=5.0)
    with redis.Redis.from_url(service.environment["VOCERO_REDIS_URL"], socket_timeout=5) as store:
        version = Overrides(database).get(Capability.CONVERSATION).version
        admin = Admin(OverrideBoard(database, store), version)
        yield admin
        admin.order(OverrideMode.AUTO)
    database.close()


def conversations_at(sandbox: RunningSandbox) -> int:
    with urllib.request.urlopen(f"{sandbox.url}/sandbox/stats", timeout=10) as answer:
        stats = json.load(answer)
    return int(stats["concurrency"]["agents"]["peak"])


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
    _until_obeyed(service, dial, provider="local")
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


def _until_obeyed(service: RunningService, dial: Dial, *, provider: str) -> None:
    talk = dial(service)
    while "stand-in" not in talk.until("agent_response")["agent_response_event"]["agent_response"]:
        assert talk.until("agent_changed")["agent_changed_event"]["to"] == provider
        return
