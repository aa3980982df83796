"""Conversations and the limits of the API key that they were opened with, at the running service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import requests
from websockets.sync.client import connect

from scripts.launcher.waiting import wait_until
from service.storage import ApiKey, ApiKeyLimits, ApiKeys, ApiScope, open_database
from tests.integration.conversation.conftest import INITIATION, assert_closed_with_error
from tests.integration.conversation.scripted_agent import LIMIT, METADATA, ScriptedAgent
from tests.servers import RunningService

MakeKey = Callable[..., tuple[ApiKey, str]]


@pytest.fixture
def make_key(database_url: str) -> Iterator[MakeKey]:
    database = open_database(database_url, busy_seconds=20)
    yield lambda **limits: ApiKeys(database).create("limited", limits=ApiKeyLimits(**limits))
    database.close()


def ask_for_signed_url(service: RunningService, key: str) -> requests.Response:
    url = f"{service.url}/v1/convai/conversation/get-signed-url"
    return requests.get(url, params={"agent_id": "agent_private"}, headers={"xi-api-key": key}, timeout=LIMIT)


def test_a_key_for_speech_alone_opens_no_conversation(scripted_service: RunningService, make_key: MakeKey) -> None:
    _, key = make_key(scopes=frozenset({ApiScope.SPEECH}))
    answer = ask_for_signed_url(scripted_service, key)
    assert (answer.status_code, answer.json()["detail"]["status"]) == (403, "missing_permissions")
    url = f"{scripted_service.ws_url}/v1/convai/conversation?agent_id=agent_private"
    with connect(url, close_timeout=1, additional_headers={"xi-api-key": key}) as client:
        assert_closed_with_error(client, 1008, "lacks the scope conversation")


def test_conversations_of_a_key_and_of_its_signed_urls_share_its_places(
    scripted_service: RunningService, scripted_agent: ScriptedAgent, make_key: MakeKey, valkey: str
) -> None:
    made, key = make_key(max_concurrent=1)
    signed = ask_for_signed_url(scripted_service, key).json()["signed_url"]
    with_key: dict[str, Any] = {
        "uri": f"{scripted_service.ws_url}/v1/convai/conversation?agent_id=agent_private",
        "additional_headers": {"xi-api-key": key},
    }
    with redis.Redis.from_url(valkey) as store:
        for way, other in (({"uri": signed}, with_key), (with_key, {"uri": signed})):
            with connect(**way, close_timeout=1) as client:
                client.send(INITIATION)
                scripted_agent.next_conversation()
                assert json.loads(client.recv(LIMIT)) == METADATA
                with connect(**other, close_timeout=1) as second:
                    assert_closed_with_error(second, 3008, "at the same time")
            wait_until(lambda: not store.exists(f"vocero:key_use:{made.id}"), LIMIT, "the place is free")
