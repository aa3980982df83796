from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from agent_upstream import Agent, AgentUpstream
from scripted_upstream import Script, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget
from tests.keys import one_key

KEY = "sk_invented_canary_7f3a"


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start_upstream(stack: ExitStack) -> Callable[..., ScriptedUpstream]:
    def start(script: Script, **options: Any) -> ScriptedUpstream:
        return stack.enter_context(ScriptedUpstream(script, **options))

    return start


@pytest.fixture
def start_service(stack: ExitStack) -> Callable[..., ElevenLabsService]:
    def start(base_url: str, **options: Any) -> ElevenLabsService:
        # Nothing is repeated, unless a test is about that: the others are about what one request does.
        once = Retrier(RetryPolicy(attempts=1), budget=RetryBudget())
        given: dict[str, Any] = {
            "keys": one_key(KEY),
            "connect_seconds": 5.0,
            "read_seconds": 5.0,
            "retrier": once,
        }
        given |= options
        return stack.enter_context(ElevenLabsService(base_url, **given))

    return start


@pytest.fixture
def start_agent(stack: ExitStack) -> Callable[..., AgentUpstream]:
    def start(script: Callable[[Agent], None], **options: Any) -> AgentUpstream:
        return stack.enter_context(AgentUpstream(script, **options))

    return start
