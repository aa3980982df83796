"""ElevenLabs refuses to open a conversation, in each way that it has: the backup opens it instead, and soon."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest

from tests import servers
from tests.conftest import NewRedis
from tests.integration.failover.conftest import PATIENT, Dial
from tests.servers import RunningSandbox, RunningService

CODES = (
    "quota_exceeded", "insufficient_credits", "system_busy", "concurrent_limit_exceeded", "invalid_api_key",
    "internal_error", "service_unavailable",
)  # fmt: skip


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    running = servers.start_sandbox(tmp_path_factory.mktemp("refusing"), "--latency-scale", "0")
    yield running
    running.child.stop()


@pytest.fixture(scope="module")
def refused(
    tmp_path_factory: pytest.TempPathFactory,
    refusing: RunningSandbox,
    service_settings: dict[str, str],
    api_key: str,
    new_redis: NewRedis,
) -> Iterator[RunningService]:
    settings = {
        **service_settings,
        **PATIENT,
        "ELEVENLABS_BASE_URL": refusing.url,
        "VOCERO_REDIS_URL": new_redis(),
        "VOCERO_BREAKER_ENABLED": "false",  # each conversation is to be refused anew
        "VOCERO_RETRY_BASE_SECONDS": "0.05",
        "VOCERO_LEG_OPENING_SECONDS": "2",
    }
    running = servers.start_service(tmp_path_factory.mktemp("refused"), api_key, settings)
    yield running
    running.discard()


@pytest.fixture(autouse=True)
def _no_faults_are_left(refusing: RunningSandbox) -> Iterator[None]:
    yield
    request = urllib.request.Request(f"{refusing.url}/sandbox/faults", method="DELETE")
    urllib.request.urlopen(request, timeout=10).close()


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("route", ["agents.conversation", "agents.signed_url"])
def test_the_backup_opens_what_elevenlabs_refuses(
    refused: RunningService, refusing: RunningSandbox, dial: Dial, route: str, code: str
) -> None:
    rule = json.dumps({"route": route, "code": code}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{refusing.url}/sandbox/faults", data=rule), timeout=10).close()
    talk = dial(refused)
    greeting = talk.until("agent_response")["agent_response_event"]["agent_response"]
    assert "stand-in" in greeting
    talk.until("audio")
    kinds = [event["type"] for event in talk.events]
    assert kinds.count("conversation_initiation_metadata") == 1
    assert "error" not in kinds
