"""A sandbox without the real service's waits, shared by this folder and clean for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import requests

from tests import servers
from tests.integration.sandbox_agents.caller import KEY, LIMIT, Caller, address, calling
from tests.parts import require_module

Call = Callable[..., AbstractContextManager[Caller]]


@pytest.fixture(scope="package")
def _agents_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    require_module("espeakng_loader", "local")
    options = ("--latency-scale", "0", "--queue-seconds", "0.3", "--plan", "free", "--no-ears")
    running = servers.start_sandbox(tmp_path_factory.mktemp("sandbox"), *options)
    yield running.url
    running.child.stop()


@pytest.fixture
def shop(_agents_sandbox: str) -> str:
    """The address of a sandbox of the free plan that nothing was asked of yet."""
    requests.post(f"{_agents_sandbox}/sandbox/reset", timeout=LIMIT).raise_for_status()
    return _agents_sandbox


@pytest.fixture
def call(shop: str) -> Call:
    """Open a conversation: `with call("agent_demo") as caller:`; the initiation has been sent."""

    def start(agent_id: str, **options: Any) -> AbstractContextManager[Caller]:
        return calling(address(shop, agent_id=agent_id), **options)

    return start


@pytest.fixture
def get(shop: str) -> Callable[..., requests.Response]:
    """GET a route with the key (`key=None`: without)."""

    def fetch(path: str, *, key: str | None = KEY, **query: str) -> requests.Response:
        headers = {"xi-api-key": key} if key else {}
        return requests.get(f"{shop}{path}", params=query, headers=headers, timeout=LIMIT)

    return fetch


@pytest.fixture
def break_conversations(shop: str) -> Callable[..., None]:
    """Let a fault happen to the next conversation: `break_conversations(close_code=1011)`."""

    def arm(**fault: Any) -> None:
        rule = {"route": "agents.conversation", **fault}
        answer = requests.post(f"{shop}/sandbox/faults", json=[rule], timeout=LIMIT)
        assert answer.status_code == 201, answer.text

    return arm
