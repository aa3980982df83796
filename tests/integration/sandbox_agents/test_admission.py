"""Who may talk to which agent, and what the refused are told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
import requests

from tests.conftest import StartSandbox
from tests.integration.sandbox_agents.caller import KEY, OPEN, address, calling
from tests.integration.sandbox_agents.conftest import Call

Get = Callable[..., requests.Response]
NOT_AUTHORIZED = (3000, "Could not authorize the conversation")


def test_the_subprotocol_is_echoed_only_to_those_who_offer_it(call: Call) -> None:
    with call("agent_text", subprotocols=["convai", "bearer.token"]) as browser:
        assert browser.socket.subprotocol == "convai"
    with call("agent_text") as script:
        assert script.socket.subprotocol is None


def test_an_unknown_agent_is_refused_as_elevenlabs_does(call: Call) -> None:
    with call("agent_nobody") as caller:
        assert caller.wait_for_close() == (3000, "The AI agent you are trying to reach does not exist.")
    assert caller.events == []


def test_no_agent_at_all_is_a_clear_refusal(shop: str) -> None:
    with calling(address(shop)) as caller:
        assert caller.wait_for_close() == (1008, "Missing required field: agent_id")


@pytest.mark.parametrize("key", [None, "invalid-key"])
def test_a_private_agent_refuses_those_without_a_good_key(call: Call, key: str | None) -> None:
    with call("agent_private", key=key) as caller:
        assert caller.wait_for_close() == NOT_AUTHORIZED


@pytest.mark.parametrize("credential", [{"key": KEY}, {"subprotocols": ["convai", f"bearer.{KEY}"]}])
def test_a_private_agent_takes_a_key_in_the_header_or_the_subprotocol(
    call: Call, credential: dict[str, object]
) -> None:
    with call("agent_private", **credential) as caller:
        caller.send(OPEN)
        assert caller.next()["type"] == "conversation_initiation_metadata"


@pytest.mark.parametrize("name", ["get-signed-url", "get_signed_url"])
def test_a_signed_url_opens_a_private_agent_again_and_again(get: Get, name: str) -> None:
    signed_url = get(f"/v1/convai/conversation/{name}", agent_id="agent_private").json()["signed_url"]
    assert signed_url.startswith("ws://127.0.0.1:")
    assert "conversation_signature=cvtkn_" in signed_url
    for _ in range(2):
        with calling(signed_url + "&source=js_sdk&version=1.25.0") as caller:
            caller.send(OPEN)
            assert caller.next()["type"] == "conversation_initiation_metadata"


def test_a_signed_url_with_a_conversation_id_is_good_once(get: Get) -> None:
    answer = get(
        "/v1/convai/conversation/get-signed-url", agent_id="agent_private", include_conversation_id="true"
    ).json()
    with calling(answer["signed_url"]) as caller:
        caller.send(OPEN)
        assert caller.next()["type"] == "conversation_initiation_metadata"
    with calling(answer["signed_url"]) as caller:
        assert caller.wait_for_close() == NOT_AUTHORIZED


def test_a_signature_is_good_for_its_own_agent_only(get: Get) -> None:
    signed_url = get("/v1/convai/conversation/get-signed-url", agent_id="agent_private").json()["signed_url"]
    with calling(signed_url.replace("agent_private", "agent_demo")) as caller:
        assert caller.wait_for_close() == NOT_AUTHORIZED
    with calling(signed_url + "x") as caller:
        assert caller.wait_for_close() == NOT_AUTHORIZED


def test_signed_urls_need_a_key_an_agent_and_one_that_exists(get: Get) -> None:
    path = "/v1/convai/conversation/get-signed-url"

    assert get(path, key=None, agent_id="agent_private").status_code == 401
    assert get(path).status_code == 422
    assert get(path, agent_id="agent_nobody").json()["detail"]["code"] == "agent_not_found"


def test_webrtc_tokens_are_refused_with_words_that_help(get: Get) -> None:
    answer = get("/v1/convai/conversation/token", agent_id="agent_demo", key=None)

    assert answer.status_code == 400
    assert "websocket" in answer.json()["detail"]["message"]


def test_calls_beyond_the_plan_wait_and_are_turned_away(call: Call) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            caller = stack.enter_context(call("agent_text"))
            caller.send(OPEN)
            caller.next()
        with call("agent_text") as late:
            assert late.wait_for_close() == (3008, "too many concurrent connections")

    statuses = [event["queue_status_event"]["status"] for event in late.events]
    assert statuses == ["waiting", "timed_out"]


def test_a_call_that_waits_is_admitted_when_another_ends(start_sandbox: StartSandbox) -> None:
    base = start_sandbox("--plan", "free", "--queue-seconds", "20", "--latency-scale", "0", "--no-ears").url
    with ExitStack() as stack:
        callers = [stack.enter_context(calling(address(base, agent_id="agent_text"))) for _ in range(4)]
        for caller in callers:
            caller.send(OPEN)
            caller.next()
        with calling(address(base, agent_id="agent_text")) as late:
            late.send(OPEN)
            assert late.next()["queue_status_event"]["status"] == "waiting"
            callers[0].socket.close()
            assert late.next()["queue_status_event"]["status"] == "admitted"
            assert late.next()["type"] == "conversation_initiation_metadata"
