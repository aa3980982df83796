"""Both databases, a Redis database to itself, and a sandbox of ElevenLabs that does not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis
import requests

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget
from tests import servers
from tests.conftest import NewRedis
from tests.integration.sandbox_agents.caller import LIMIT, OPEN, address, calling
from tests.keys import one_key
from tests.unit.storage.conftest import (  # noqa: F401 (fixtures)
    database,
    empty_url,
    kind,
    migrated_file,
    migrated_template,
    migrated_url,
)

Talk = Callable[[], str]
Break = Callable[..., None]


@pytest.fixture
def redis_url(new_redis: NewRedis) -> str:
    """The URL of an empty Redis database that only this test uses."""
    return new_redis()


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    """A client of it."""
    with redis.Redis.from_url(redis_url, socket_timeout=5) as client:
        yield client


@pytest.fixture
def away(tmp_path: Any) -> Iterator[redis.Redis]:
    """A client of a Redis that does not answer."""
    with redis.Redis.from_url(f"unix://{tmp_path}/nobody.sock", socket_timeout=1) as client:
        yield client


@pytest.fixture(scope="package")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = ("--latency-scale", "0", "--no-ears")
    running = servers.start_sandbox(tmp_path_factory.mktemp("sandbox"), *options)
    yield running.url
    running.child.stop()


@pytest.fixture
def sandbox_url(_sandbox: str) -> str:
    """The address of a sandbox without fault rules."""
    requests.post(f"{_sandbox}/sandbox/reset", timeout=LIMIT).raise_for_status()
    return _sandbox


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def elevenlabs(sandbox_url: str, stack: ExitStack) -> ElevenLabsService:
    """ElevenLabs at the sandbox; a request is made once, and given up after a second."""
    once = Retrier(RetryPolicy(attempts=1), budget=RetryBudget())
    service = ElevenLabsService(sandbox_url, keys=one_key(), read_seconds=1.0, retrier=once)
    return stack.enter_context(service)


@pytest.fixture
def talk(sandbox_url: str) -> Talk:
    """Hold a conversation with the sandbox's agent that writes, to its end; the result is its id."""

    def hold() -> str:
        with calling(address(sandbox_url, agent_id="agent_text")) as caller:
            caller.send(OPEN)
            metadata = caller.next()["conversation_initiation_metadata_event"]
            caller.wait_for("agent_response")
            caller.write("Goodbye!")
            caller.wait_for_close()
        return str(metadata["conversation_id"])

    return hold


@pytest.fixture
def break_deletions(sandbox_url: str) -> Break:
    """Let a fault happen to requests that delete: `break_deletions(code="system_busy", times=2)`."""

    def arm(**fault: Any) -> None:
        rule = {"route": "agents.conversation_deletion", **fault}
        answer = requests.post(f"{sandbox_url}/sandbox/faults", json=[rule], timeout=LIMIT)
        assert answer.status_code == 201, answer.text

    return arm


@pytest.fixture
def known_there(sandbox_url: str) -> Callable[[str], bool]:
    """Whether the sandbox still has a conversation."""

    def is_known(conversation_id: str) -> bool:
        url = f"{sandbox_url}/v1/convai/conversations/{conversation_id}"
        status = requests.get(url, headers={"xi-api-key": "k"}, timeout=LIMIT).status_code
        assert status in (200, 404)
        return status == 200

    return is_known
