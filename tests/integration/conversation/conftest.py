"""A service whose upstream is scripted, and clients that see every frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.integration.conversation.scripted_agent import LIMIT, ScriptedAgent, running_agent
from tests.servers import RunningService, start_service

Dial = Callable[..., ClientConnection]
Talk = Callable[..., ClientConnection]
INITIATION = json.dumps({"type": "conversation_initiation_client_data"})


@pytest.fixture(scope="package")
def scripted_agent() -> Iterator[ScriptedAgent]:
    with running_agent() as agent:
        yield agent


@pytest.fixture(scope="package")
def scripted_settings(scripted_agent: ScriptedAgent, valkey: str, database_url: str) -> dict[str, str]:
    return {
        "ELEVENLABS_BASE_URL": scripted_agent.url,
        "ELEVENLABS_API_KEY": "scripted-key",
        "ELEVENLABS_AGENT_ID": "agent_demo",
        "VOCERO_PUBLIC_AGENTS": "agent_demo",
        "VOCERO_REDIS_URL": valkey,
        "VOCERO_DATABASE_URL": database_url,
        "VOCERO_TICKETS_PER_MINUTE": "100000",
    }


@pytest.fixture(scope="package")
def scripted_service(
    tmp_path_factory: pytest.TempPathFactory, scripted_settings: dict[str, str], api_key: str
) -> Iterator[RunningService]:
    running = start_service(tmp_path_factory.mktemp("scripted"), api_key, scripted_settings)
    yield running
    running.discard()


@pytest.fixture
def start_scripted(
    tmp_path_factory: pytest.TempPathFactory, scripted_settings: dict[str, str], api_key: str
) -> Iterator[Callable[..., RunningService]]:
    """Start a service of the test's own in front of the scripted agent, with other settings."""
    with ExitStack() as stack:

        def start(**environment: str) -> RunningService:
            folder = tmp_path_factory.mktemp("scripted")
            running = start_service(folder, api_key, {**scripted_settings, **environment})
            stack.callback(running.discard)
            return running

        yield start


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Open a conversation's socket at any service: `dial(service, query=..., initiation=None, **options)`."""
    with ExitStack() as stack:

        def open_socket(
            service: RunningService,
            query: str = "agent_id=agent_demo",
            *,
            initiation: str | None = INITIATION,
            **options: Any,
        ) -> ClientConnection:
            url = f"{service.ws_url}/v1/convai/conversation?{query}"
            client = stack.enter_context(connect(url, max_size=None, ping_interval=None, close_timeout=1, **options))
            if initiation is not None:
                client.send(initiation)
            return client

        yield open_socket


@pytest.fixture
def talk(dial: Dial, scripted_service: RunningService) -> Talk:
    """`dial` at the shared service."""
    return partial(dial, scripted_service)


def read_to_the_close(client: ClientConnection) -> tuple[list[dict[str, Any]], int, str]:
    """All events until the socket closes, and the close frame's code and reason."""
    events = []
    try:
        while True:
            events.append(json.loads(client.recv(LIMIT)))
    except ConnectionClosed as closed:
        assert closed.rcvd is not None, "the socket ended without a close frame"
        return events, closed.rcvd.code, closed.rcvd.reason


def assert_closed_with_error(client: ClientConnection, code: int, words: str) -> None:
    """The socket closes with `code` and a reason with `words` in it, after an `error` event that says the same."""
    events, got, reason = read_to_the_close(client)
    assert (got, words.lower() in reason.lower()) == (code, True), (got, reason)
    error = events[-1]
    assert error["type"] == "error", events
    assert words.lower() in error["error_event"]["message"].lower()
    assert error["error_event"]["code"] in {1000, 1002, 1008, 1011}
