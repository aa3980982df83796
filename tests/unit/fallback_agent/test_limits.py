"""Time runs out: silence, idleness, too long a talk; and what is left behind afterwards."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from service.fallback.local_agent_profile import LINES
from tests.unit.fallback_agent.conftest import OpenTalk


def test_a_silent_user_is_asked_twice_and_then_left_in_peace(open_talk: OpenTalk) -> None:
    talk = open_talk(first_messages={}, turn_timeout_seconds=0.01, input_timeout_seconds=12.0)
    talk.wait_for("agent_response", 2)
    talk.send("user_activity")

    answers = [event["agent_response_event"]["agent_response"] for event in talk.events("agent_response")]
    assert answers == [LINES["en"].still_there] * 2


def test_in_writing_nobody_is_asked_whether_they_are_there(open_talk: OpenTalk) -> None:
    talk = open_talk({"ping_seconds": 0.02}, text_only=True, first_messages={}, turn_timeout_seconds=0.01)
    talk.wait_for("ping", 5)

    assert talk.events("agent_response") == []


def test_no_input_for_too_long_ends_the_conversation_even_if_pongs_come(open_talk: OpenTalk) -> None:
    talk = open_talk({"ping_seconds": 0.02}, first_messages={}, input_timeout_seconds=0.2)
    talk.wait_for("ping")
    talk.send("pong", event_id=1)

    assert talk.wait_for_end() == (1002, "transport_receive_timeout")
    error = talk.events()[-1]["error_event"]
    assert (error["code"], error["error_type"]) == (1002, "transport_receive_timeout")


def test_input_of_any_kind_puts_the_idle_limit_off(open_talk: OpenTalk) -> None:
    talk = open_talk({"ping_seconds": 0.05}, first_messages={}, input_timeout_seconds=1.0)
    for count in range(1, 40):
        talk.wait_for("ping", count)
        talk.send("user_activity")

    assert talk.ending is None  # 39 pings take about twice the limit


def test_a_talk_that_lasts_too_long_is_ended(open_talk: OpenTalk) -> None:
    talk = open_talk(max_duration_seconds=0.05)

    assert talk.wait_for_end() == (1000, "max_duration_exceeded")
    assert talk.events()[-1]["error_event"]["error_type"] == "max_duration_exceeded"


def test_silence_can_end_the_call(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True, silence_end_call_seconds=0.05)

    assert talk.wait_for_end() == (1000, "silence_end_call_timeout")


def test_closing_ends_every_thread_of_the_agent(open_talk: OpenTalk) -> None:
    talk = open_talk()
    talk.wait_for("audio")
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("local-agent")]
    assert mine
    talk.close()
    for thread in mine:
        thread.join(timeout=5.0)

    assert not [thread for thread in mine if thread.is_alive()]
    assert talk.ending is None  # whoever closes knows that it is over


@pytest.mark.parametrize(("part", "reason"), [("voice", "speak"), ("dialogue", "answer")])
def test_a_broken_part_is_told_and_ends_the_conversation(open_talk: OpenTalk, part: str, reason: str) -> None:
    class Broken:
        kind = "broken"

        def speak(self, *_: Any, **__: Any) -> Any:
            raise OSError("no sound card")

        reply = speak

    talk = open_talk({part: Broken()}, text_only=part == "dialogue", first_messages={})
    talk.write("Where are you?")

    assert talk.wait_for_end() == (1002, f"The agent could not {reason}.")
    assert talk.events()[-1]["type"] == "error"


def test_a_flood_of_questions_is_answered_by_its_last(open_talk: OpenTalk) -> None:
    talk = open_talk({"ping_seconds": 0.02})
    for _ in range(300):
        talk.write("Do you have parking?")
    talk.write("What are your opening hours?")
    talk.wait_until(
        lambda: (
            talk.events("agent_response")
            and "Monday" in talk.events("agent_response")[-1]["agent_response_event"]["agent_response"]
        ),
        "answer to the last question",
    )
    assert talk.ending is None
