"""What the client sends beside speech and text, right and wrong."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from service.errors import ConnectionClosedError, RequestError
from service.fallback.local_agent import LocalAgent
from service.fallback.local_agent_profile import LINES
from tests.unit.fallback_agent.conftest import OpenTalk
from tests.unit.fallback_agent.contract import open_contract
from tests.unit.fallback_agent.talk import LIMIT, TELL_TIME, event_id, profile

ASK_TIME = "Tell me, what time is it on my device?"
WATCHED = profile().client_events | {"agent_tool_request", "agent_tool_response", "vad_score"}


def test_a_tool_of_the_clients_is_called_and_its_result_is_told(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True, client_events=WATCHED)
    talk.wait_for_answer(1)
    talk.write(ASK_TIME)
    call = talk.wait_for("client_tool_call")["client_tool_call"]
    talk.send("client_tool_result", tool_call_id=call["tool_call_id"], result="12:34", is_error=False)

    assert (call["tool_name"], call["parameters"]) == ("get_local_time", {"format": "HH:mm"})
    assert talk.wait_for_answer(2) == "On your device it is 12:34."
    assert event_id(talk.events("agent_response")[1]) == call["event_id"]
    order = [kind for kind in talk.kinds() if "tool" in kind]
    assert order == ["agent_tool_request", "client_tool_call", "agent_tool_response"]
    assert talk.events("agent_tool_response")[0]["agent_tool_response"]["is_error"] is False


def test_a_result_that_is_no_text_is_told_as_json(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True)
    talk.write(ASK_TIME)
    call = talk.wait_for("client_tool_call")["client_tool_call"]
    talk.send("client_tool_result", tool_call_id=call["tool_call_id"], result={"hour": 12}, is_error=False)

    talk.wait_until(lambda: _last_answer(talk) == 'On your device it is {"hour": 12}.', "told result")


def _last_answer(talk: Any) -> str:
    answers = talk.events("agent_response")
    return answers[-1]["agent_response_event"]["agent_response"] if answers else ""


def test_a_tool_that_failed_is_admitted(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True, client_events=WATCHED)
    talk.write(ASK_TIME)
    call = talk.wait_for("client_tool_call")["client_tool_call"]
    talk.send("client_tool_result", tool_call_id=call["tool_call_id"], result="no clock", is_error=True)

    talk.wait_until(lambda: _last_answer(talk) == LINES["en"].tool_failed, "admission")
    assert talk.events("agent_tool_response")[0]["agent_tool_response"]["is_error"] is True


def test_a_tool_that_never_answers_is_given_up(open_talk: OpenTalk) -> None:
    impatient = type(TELL_TIME)(
        "get_local_time", trigger=TELL_TIME.trigger, answers=TELL_TIME.answers, timeout_seconds=0.01
    )
    talk = open_talk(text_only=True, tools=(impatient,))
    talk.write(ASK_TIME)

    talk.wait_until(lambda: _last_answer(talk) == LINES["en"].tool_failed, "admission")


def test_a_result_that_comes_after_the_talk_has_moved_on_is_not_told(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True)
    talk.write(ASK_TIME)
    call = talk.wait_for("client_tool_call")["client_tool_call"]
    talk.write("Where are you?")
    talk.send("client_tool_result", tool_call_id=call["tool_call_id"], result="12:34", is_error=False)
    talk.write("Goodbye!")
    talk.wait_for_end()

    told = [event["agent_response_event"]["agent_response"] for event in talk.events("agent_response")]
    assert not [answer for answer in told if "12:34" in answer]


def test_contextual_updates_are_remembered_and_one_id_keeps_only_its_latest(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True)
    for text, context_id in (("in the shop", "page"), ("likes maps", None), ("at the till", "page")):
        talk.send("contextual_update", text=text, **({"context_id": context_id} if context_id else {}))
    talk.write("Goodbye!")
    talk.wait_for_end()

    assert talk.agent.notes.contexts == ("likes maps", "at the till")


def test_feedback_is_counted_and_can_be_taken_back(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True)
    for about, score in ((1, "like"), (2, "dislike"), (1, None)):
        talk.send("feedback", event_id=about, score=score)
    talk.write("Goodbye!")
    talk.wait_for_end()

    assert talk.agent.notes.feedback == {2: "dislike"}


def test_a_pong_measures_the_round_trip_that_the_next_ping_tells(open_talk: OpenTalk) -> None:
    talk = open_talk({"ping_seconds": 0.02})
    first = talk.wait_for("ping")["ping_event"]
    talk.send("pong", event_id=first["event_id"])
    talk.send("pong", event_id=987)
    talk.wait_until(lambda: talk.events("ping")[-1]["ping_event"]["ping_ms"], "measured ping")

    assert first["ping_ms"] is None
    assert 1 <= talk.events("ping")[-1]["ping_event"]["ping_ms"] < 5_000
    ids = [event["ping_event"]["event_id"] for event in talk.events("ping")]
    assert ids == sorted(set(ids))


def test_files_get_an_honest_answer_and_their_text_a_real_one(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True)
    talk.wait_for_answer(1)
    talk.send("multimodal_message", file={"type": "file_input", "file_id": "f1"})
    assert talk.wait_for_answer(2) == LINES["en"].cannot_see
    talk.send("multimodal_message", text={"type": "user_message", "text": "Do you have parking?"})
    assert "park" in talk.wait_for_answer(3)


def test_events_that_need_no_answer_get_none(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True)
    talk.wait_for_answer(1)
    talk.send("user_message", text=None)
    talk.send("user_message", text="  ")
    talk.send("user_activity")
    talk.send("mcp_tool_approval_result", tool_call_id="x", is_approved=True)
    talk.send("client_tool_result", tool_call_id="unknown", result="", is_error=False)
    talk.agent.receive({"user_audio_chunk": "AAAA"})
    talk.write("Goodbye!")
    talk.wait_for_end()

    assert len(talk.events("agent_response")) == 2


@pytest.mark.parametrize(
    "event",
    [
        {"type": "ping"},
        {"type": "user_transcript"},
        {"type": None},
        {"type": ["user_message"]},
        {},
        {"type": "user_message", "text": 7},
        {"type": "pong", "event_id": "1"},
        {"type": "pong", "event_id": True},
        {"type": "contextual_update", "text": None},
        {"user_audio_chunk": 5},
        {"user_audio_chunk": "not base64!"},
        {"type": "multimodal_message", "text": "hello"},
    ],
)
def test_what_the_protocol_does_not_know_ends_the_conversation(open_talk: OpenTalk, event: dict[str, Any]) -> None:
    talk = open_talk()
    talk.agent.receive(event)

    code, reason = talk.wait_for_end()
    assert (code, talk.events()[-1]["type"]) == (1008, "error")
    assert talk.events()[-1]["error_event"]["error_type"] == "invalid_message"
    assert reason == talk.events()[-1]["error_event"]["message"]
    assert len(reason.encode()) <= 123


def test_a_missing_field_is_named(open_talk: OpenTalk) -> None:
    talk = open_talk()
    talk.send("client_tool_result", result="12:34")

    assert talk.wait_for_end() == (1008, "The event 'client_tool_result' needs the field 'tool_call_id'.")
    assert talk.events()[-1]["error_event"]["error_type"] == "missing_fields"


def test_a_tolerant_agent_lets_unknown_events_pass(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True, refuse_unknown_events=False)
    talk.send("event_of_next_year", anything=1)
    talk.write("Goodbye!")

    assert talk.wait_for_end()[0] == 1000


def test_the_owner_can_refuse_what_is_no_event_at_all(open_talk: OpenTalk) -> None:
    talk = open_talk()
    talk.agent.refuse(RequestError("Invalid message received", code="invalid_message"))

    assert talk.wait_for_end() == (1008, "Invalid message received")


def test_what_the_tests_send_is_what_elevenlabs_takes() -> None:
    contract = open_contract()
    for event in (
        {"type": "conversation_initiation_client_data", "dynamic_variables": {"name": "Ana"}},
        {"type": "client_tool_result", "tool_call_id": "x", "result": "12:34", "is_error": False},
        {"type": "contextual_update", "text": "at the till", "context_id": "page"},
        {"type": "feedback", "event_id": 1, "score": None},
        {"user_audio_chunk": "AAAA"},
    ):
        contract.check_client_event(event)


def test_a_client_that_is_gone_ends_the_agent_without_a_word(open_talk: OpenTalk, dialogue: Any, voice: Any) -> None:
    gone = threading.Event()
    endings: list[tuple[int, str]] = []

    def emit(event: dict[str, Any]) -> None:
        gone.set()
        raise ConnectionClosedError(1006, "gone")

    agent = LocalAgent(
        profile(),
        conversation_id="conv_gone",
        dialogue=dialogue,
        voice=voice,
        ears=None,
        emit=emit,
        on_end=lambda code, reason: endings.append((code, reason)),
    )
    agent.start()
    agent.receive({"type": "conversation_initiation_client_data"})
    assert gone.wait(LIMIT)
    agent.close()

    assert endings == []
    agent.receive({"type": "user_activity"})  # and what still comes in is dropped
