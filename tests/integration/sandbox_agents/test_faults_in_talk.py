"""Faults at a place in a conversation, for one user's alone; and the sandbox's account of what it was to say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed

from tests.integration.sandbox_agents.caller import LIMIT, Caller
from tests.integration.sandbox_agents.conftest import Call

ANSWER = "There is a public car park around the corner, and we pay for your first hour if you buy something."
Arm = Callable[..., None]


@pytest.fixture
def break_talk(break_conversations: Arm) -> Arm:
    """Let a fault happen to the conversations of the user "ana"."""

    def arm(**fault: Any) -> None:
        break_conversations(user="ana", **fault)

    return arm


def greet(caller: Caller, user: str = "ana") -> None:
    """Open the conversation and hear the greeting to its end."""
    caller.send({"type": "conversation_initiation_client_data", "user_id": user})
    hear(caller, "How can I help you?")


def hear(caller: Caller, end: str) -> None:
    """Receive until so much was spoken."""
    while not spoken(caller).endswith(end):
        caller.next()


def spoken(caller: Caller) -> str:
    """The characters of all sound that came."""
    alignments = [event["audio_event"]["alignment"] for event in caller.events if event["type"] == "audio"]
    return "".join("".join(alignment["chars"]) for alignment in alignments)


def last_answer(caller: Caller) -> str:
    """What was spoken behind the last text."""
    texts = [number for number, event in enumerate(caller.events) if event["type"] == "agent_response"]
    rest = Caller(caller.socket, None)
    rest.events = caller.events[texts[-1] :]
    return spoken(rest)


def receive_all(caller: Caller) -> ConnectionClosed:
    """Receive until the connection ends; how it did."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            caller.next()
    return closed.value


def account(shop: str, user: str = "ana") -> dict[str, Any]:
    found = requests.get(f"{shop}/sandbox/conversations", params={"user": user}, timeout=LIMIT).json()
    last: dict[str, Any] = found[-1]
    return last


def test_it_is_cut_in_the_middle_of_an_answer(call: Call, break_talk: Arm) -> None:
    break_talk(turn=2, after_characters=20, drop_after_frames=0)
    with call("agent_demo") as caller:
        greet(caller)
        caller.write("Do you have parking?")
        assert receive_all(caller).rcvd is None
        heard = last_answer(caller)
    assert ANSWER.startswith(heard)
    assert 20 <= len(heard) < 40


def test_it_is_closed_with_a_code_before_the_answers_text_or_behind_it(call: Call, break_talk: Arm) -> None:
    for place in ({}, {"after_characters": 0}):
        break_talk(turn=2, close_code=1011, close_reason="internal error", times=1, **place)
        with call("agent_demo") as caller:
            greet(caller)
            caller.write("Do you have parking?")
            closed = receive_all(caller).rcvd
            assert closed is not None
            assert (closed.code, closed.reason) == (1011, "internal error")
            assert caller.kinds().count("agent_response") == 1 + len(place)
            assert (last_answer(caller) == "") is bool(place)


def test_it_hangs_in_the_middle_of_an_answer_until_the_client_leaves(call: Call, break_talk: Arm, shop: str) -> None:
    break_talk(turn=2, after_characters=20, hang=60.0)
    with call("agent_demo") as caller:
        greet(caller)
        caller.write("Do you have parking?")
        caller.wait_for("agent_response", event_id=2)
        while len(last_answer(caller)) < 20:
            caller.next()
        with pytest.raises(TimeoutError):
            caller.socket.recv(timeout=0.3)
    end = time.monotonic() + LIMIT
    while requests.get(f"{shop}/sandbox/stats", timeout=LIMIT).json()["concurrency"]["agents"]["now"]:
        assert time.monotonic() < end, "its slot is not free"


def test_an_answer_turns_into_noise(call: Call, break_talk: Arm) -> None:
    break_talk(turn=2, after_characters=20, garbage=True)
    with call("agent_demo") as caller:
        greet(caller)
        caller.write("Do you have parking?")
        with pytest.raises(json.JSONDecodeError):
            while True:
                caller.next()
        assert len(last_answer(caller)) >= 20


def test_one_answer_ends_early_and_its_characters_with_it(call: Call, break_talk: Arm) -> None:
    break_talk(turn=2, truncate=0.3)
    with call("agent_demo") as caller:
        greet(caller)
        caller.write("Do you have parking?")
        caller.wait_for("agent_response", event_id=2)
        caller.write("Do you have parking?")
        caller.wait_for("agent_response", event_id=3)
        hear(caller, "right at the door.")
        texts = [number for number, event in enumerate(caller.events) if event["type"] == "agent_response"]
        first = Caller(caller.socket, None)
        first.events = caller.events[texts[1] : texts[2]]
        assert 10 < len(spoken(first)) < 80
        assert spoken(first) == ANSWER[: len(spoken(first))]


def test_only_the_user_it_is_meant_for_notices(call: Call, break_talk: Arm, shop: str) -> None:
    break_talk(turn=2, drop_after_frames=0)
    with call("agent_demo") as caller:
        greet(caller, user="eva")
        caller.write("Do you have parking?")
        hear(caller, "right at the door.")
    assert account(shop, "eva")["struck_at"] is None


def test_the_account_has_every_text_whole_and_when_the_fault_struck(call: Call, break_talk: Arm, shop: str) -> None:
    break_talk(turn=2, after_characters=20, drop_after_frames=0)
    began = time.time()
    with call("agent_demo") as caller:
        greet(caller)
        caller.write("Do you have parking?")
        receive_all(caller)
    told = account(shop)
    assert [each["text"][: len(ANSWER)] for each in told["said"]] == [
        "Hello, this is the demo shop. How can I help you?", ANSWER
    ]  # fmt: skip
    assert began < told["said"][0]["at"] <= told["said"][1]["at"] <= told["struck_at"] < time.time()
    assert told["user_id"] == "ana"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"route": "tts.convert", "turn": 2, "garbage": True}, "agents.conversation"),
        ({"route": "tts.convert", "user": "ana", "garbage": True}, "agents.conversation"),
        ({"turn": 2}, "nothing would happen"),
        ({"turn": 2, "status": 500}, "before there is a user"),
        ({"user": "ana", "status": 500}, "before there is a user"),
        ({"after_characters": 3, "garbage": True}, "needs a turn"),
        ({"turn": 2, "after_characters": 3, "silence": True}, "whole turn"),
        ({"turn": 0, "garbage": True}, "greater than or equal to 1"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(shop: str, rule: dict[str, Any], words: str) -> None:
    rule = {"route": "agents.conversation", **rule}
    refused = requests.post(f"{shop}/sandbox/faults", json=[rule], timeout=LIMIT)
    assert refused.status_code == 422
    assert words in refused.text
