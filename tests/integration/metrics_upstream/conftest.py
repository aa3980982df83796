"""A sandbox without the real service's waits, shared by this folder; each test begins without faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget
from tests import servers
from tests.keys import one_key
from tests.parts import require_module
from tests.told import Told

Arm = Callable[..., None]
StartElevenLabs = Callable[..., ElevenLabsService]


def retrier(attempts: int) -> Retrier:
    """One that does not wait, and whose budget is never the reason."""
    return Retrier(RetryPolicy(attempts=attempts), budget=RetryBudget(share=1.0, minimum=1_000), sleep=lambda _: None)


@pytest.fixture(scope="package")
def _sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RunningSandbox]:
    require_module("espeakng_loader", "local")
    running = servers.start_sandbox(tmp_path_factory.mktemp("sandbox"), "--latency-scale", "0", "--no-ears")
    yield running
    running.child.stop()


@pytest.fixture
def upstream(_sandbox: servers.RunningSandbox) -> str:
    """Its URL."""
    requests.post(f"{_sandbox.url}/sandbox/reset", timeout=10).raise_for_status()
    return _sandbox.url


@pytest.fixture
def arm(upstream: str) -> Arm:
    """Let something go wrong: `arm("tts.stream", status=503)`."""

    def put(route: str, **fault: Any) -> None:
        answer = requests.post(f"{upstream}/sandbox/faults", json=[{"route": route, **fault}], timeout=10)
        assert answer.status_code == 201, answer.text

    return put


@pytest.fixture
def start_elevenlabs(upstream: str) -> Iterator[StartElevenLabs]:
    """A service at the sandbox that repeats nothing, unless it is told to."""
    with ExitStack() as stack:

        def start(url: str = upstream, *, attempts: int = 1, **options: Any) -> ElevenLabsService:
            given: dict[str, Any] = {"keys": one_key(), "read_seconds": 5.0, "retrier": retrier(attempts), **options}
            return stack.enter_context(ElevenLabsService(url, **given))

        yield start


@pytest.fixture
def told(upstream: str) -> Told:
    """What the metrics are told from now on."""
    return Told()
