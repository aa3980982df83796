"""Conversations through `with_retry`, against real sockets: opened again until something was said, never after."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from agent_upstream import METADATA, WAIT_SECONDS, Agent, AgentUpstream, response
from scripted_upstream import Peer, ScriptedUpstream

from service.elevenlabs.agent_answer import FinalText
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import (
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from service.retry import Outcome, Retrier, RetryPolicy
from service.retry_budget import RetryBudget

StartUpstream = Callable[..., ScriptedUpstream]
StartAgent = Callable[..., AgentUpstream]
StartService = Callable[..., ElevenLabsService]
INITIATION = {"type": "conversation_initiation_client_data"}


def retrier(**policy: Any) -> Retrier:
    return Retrier(RetryPolicy(**policy), budget=RetryBudget(share=1.0, minimum=1_000), sleep=lambda _: None)


def idle(agent: Agent) -> None:
    agent.await_hang_up()


class Signing:
    """Answers the nth request for a signed URL with the nth of `answers`, and then with the URL."""

    def __init__(self, *answers: tuple[int, str]) -> None:
        self._answers = list(answers)

    def __call__(self, url: str) -> tuple[int, str]:
        return self._answers.pop(0) if self._answers else (200, json.dumps({"signed_url": url}))


def opened(upstream: AgentUpstream) -> int:
    return sum("/get-signed-url" not in path for path in upstream.paths)


def ask(service: ElevenLabsService) -> list[Any]:
    return list(service.generate_response("Hi.", agent_id="agent_1", text_only=True, quiet_seconds=0.1))


@pytest.mark.parametrize("refusal", [(500, ""), (503, ""), (429, '{"detail":{"code":"system_busy"}}'), (504, "")])
def test_opening_a_conversation_is_repeated_whatever_elevenlabs_may_have_done_because_nothing_was_said(
    start_agent: StartAgent, start_service: StartService, refusal: tuple[int, str]
) -> None:
    upstream = start_agent(idle, sign=Signing(refusal, refusal))
    service = start_service(upstream.url, retrier=retrier())
    with service.open_conversation("agent_1", INITIATION):
        assert len(upstream.paths) == 4
        assert opened(upstream) == 1
    assert service.retrier.counts() == {("open_conversation", Outcome.REPEATED): 2}


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        ((401, ""), UpstreamKeyError),
        ((429, '{"detail":{"code":"concurrent_limit_exceeded"}}'), UpstreamConcurrencyError),
    ],
)
def test_what_trying_again_cannot_mend_is_asked_once(
    start_agent: StartAgent, start_service: StartService, refusal: tuple[int, str], expected: type[UpstreamError]
) -> None:
    upstream = start_agent(idle, sign=Signing(refusal))
    with pytest.raises(expected):
        start_service(upstream.url, retrier=retrier()).open_conversation("agent_1", INITIATION)
    assert len(upstream.paths) == 1


def test_a_refused_upgrade_is_repeated_with_a_new_signed_url(
    start_agent: StartAgent, start_service: StartService
) -> None:
    upstream = start_agent(idle, refuse=(503, ""))
    with pytest.raises(UpstreamBusyError):
        start_service(upstream.url, retrier=retrier()).open_conversation("agent_1", INITIATION)
    assert (len(upstream.paths), opened(upstream)) == (6, 3)


@pytest.mark.parametrize("phase", ["signing", "upgrade"])
def test_an_elevenlabs_that_hangs_at_the_opening_is_waited_for_until_the_deadline(
    start_upstream: StartUpstream, start_service: StartService, phase: str
) -> None:
    def script(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            if phase == "upgrade" and "/get-signed-url" in request.target:
                url = f"ws://localhost:{upstream.port}/v1/convai/conversation?conversation_signature=cvtkn_1"
                peer.answer(json.dumps({"signed_url": url}).encode())
            else:
                peer.await_hang_up()

    upstream = start_upstream(script)
    options = {"read_seconds": WAIT_SECONDS * 10, "connect_seconds": WAIT_SECONDS * 10}
    began = time.monotonic()
    with pytest.raises(UpstreamError):
        start_service(upstream.url, retrier=retrier(total_seconds=1.0), **options).open_conversation("agent_1")
    assert 1.0 <= time.monotonic() - began < WAIT_SECONDS


def test_an_answer_is_asked_for_again_if_the_conversation_broke_before_anything_was_said(
    start_agent: StartAgent, start_service: StartService
) -> None:
    talks: list[list[str]] = []

    def script(agent: Agent) -> None:
        heard: list[str] = []
        talks.append(heard)
        heard.append(agent.hear()["type"])
        if len(talks) < 3:
            agent.close(1011)
            return
        agent.say(METADATA)
        heard.append(agent.hear()["type"])
        agent.say(response("Hello.", 1))
        agent.await_hang_up()

    upstream = start_agent(script)
    service = start_service(upstream.url, retrier=retrier())
    assert ask(service) == [FinalText(text="Hello.", event_id=1)]
    assert talks == [[INITIATION["type"]], [INITIATION["type"]], [INITIATION["type"], "user_message"]]
    assert service.retrier.counts() == {("generate_response", Outcome.REPEATED): 2}


@pytest.mark.parametrize(("code", "reason"), [(1011, ""), (1002, "system_busy"), (1013, ""), (1002, "llm_timeout")])
def test_what_was_said_to_an_agent_is_said_once(
    start_agent: StartAgent, start_service: StartService, code: int, reason: str
) -> None:
    """It may have called tools by then."""
    said: list[str] = []

    def script(agent: Agent) -> None:
        agent.hear()
        agent.say(METADATA)
        said.append(agent.hear()["text"])
        agent.close(code, reason)

    upstream = start_agent(script)
    with pytest.raises(UpstreamError):
        ask(start_service(upstream.url, retrier=retrier()))
    assert said == ["Hi."]
    assert opened(upstream) == 1


def test_a_conversation_that_breaks_in_the_middle_of_its_answer_is_not_begun_again(
    start_agent: StartAgent, start_service: StartService
) -> None:
    def script(agent: Agent) -> None:
        agent.hear()
        agent.say(METADATA)
        agent.hear()
        agent.say(response("Hello.", 1))
        agent.close(1011)

    upstream = start_agent(script)
    events = start_service(upstream.url, retrier=retrier()).generate_response(
        "Hi.", agent_id="agent_1", quiet_seconds=WAIT_SECONDS
    )
    assert next(events) == FinalText(text="Hello.", event_id=1)
    with pytest.raises(UpstreamUnavailableError):
        list(events)
    assert opened(upstream) == 1


def test_an_agent_that_says_nothing_at_all_is_waited_for_until_the_deadline(
    start_agent: StartAgent, start_service: StartService
) -> None:
    began = time.monotonic()
    with pytest.raises(UpstreamTimeoutError):
        ask(start_service(start_agent(idle).url, retrier=retrier(total_seconds=1.0)))
    assert 1.0 <= time.monotonic() - began < WAIT_SECONDS


def test_an_answer_that_has_begun_has_all_the_time_of_its_own(
    start_agent: StartAgent, start_service: StartService
) -> None:
    taken = threading.Event()

    def script(agent: Agent) -> None:
        agent.hear()
        agent.say(METADATA)
        agent.hear()
        agent.say(response("Hello.", 1))
        assert taken.wait(WAIT_SECONDS)
        threading.Event().wait(0.6)  # twice the deadline of the retried part
        agent.say(response("And more.", 2))
        agent.await_hang_up()

    service = start_service(start_agent(script).url, retrier=retrier(total_seconds=0.3))
    events = service.generate_response("Hi.", agent_id="agent_1", quiet_seconds=2.0)
    assert next(events) == FinalText(text="Hello.", event_id=1)
    taken.set()
    assert next(events) == FinalText(text="And more.", event_id=2)
    events.close()  # type: ignore[attr-defined]
