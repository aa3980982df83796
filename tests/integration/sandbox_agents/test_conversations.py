"""Whole conversations over a real socket, what REST tells of them, and what happens to bad frames and on demand."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.integration.sandbox_agents.caller import KEY, LIMIT, OPEN, Caller, id_of
from tests.integration.sandbox_agents.conftest import Call

Get = Callable[..., requests.Response]
Break = Callable[..., None]


def _open(caller: Caller) -> str:
    """Open the conversation; the result is its id."""
    caller.send(OPEN)
    metadata = caller.next()
    assert metadata["type"] == "conversation_initiation_metadata"
    return str(metadata["conversation_initiation_metadata_event"]["conversation_id"])


def _details(get: Get, conversation_id: str) -> dict[str, Any]:
    """What REST tells once the conversation is over."""
    deadline = time.monotonic() + LIMIT
    while True:
        details: dict[str, Any] = get(f"/v1/convai/conversations/{conversation_id}").json()
        if details["status"] != "in-progress" or time.monotonic() > deadline:
            return details


def _loudness(pcm: bytes) -> float:
    return float(np.sqrt(np.mean(np.frombuffer(pcm, dtype="<i2").astype(np.float64) ** 2)))


def test_three_typed_questions_get_three_spoken_answers(call: Call) -> None:
    with call("agent_demo") as caller:
        _open(caller)
        caller.wait_for("audio")
        said = []
        for turn, question in enumerate(("When are you open?", "Do you have parking?", "How can I pay?"), start=2):
            caller.write(question)
            said.append(caller.wait_for("agent_response", event_id=turn)["agent_response_event"]["agent_response"])
            caller.wait_for("audio", event_id=turn)

    assert "Monday" in said[0]
    assert "park" in said[1].casefold()
    assert "card" in said[2].casefold()
    assert _loudness(caller.sound()) > 500
    assert caller.kinds().count("interruption") == 3


def test_the_text_agent_writes_and_hangs_up_after_goodbye(call: Call, get: Get) -> None:
    with call("agent_text") as caller:
        conversation_id = _open(caller)
        caller.wait_for("agent_response")
        caller.send({"type": "feedback", "event_id": 1, "score": "like"})
        caller.write("When are you open?")
        caller.wait_for("agent_response")
        caller.write("Goodbye!")
        assert caller.wait_for_close() == (1000, "Agent ended the conversation")

    assert "audio" not in caller.kinds()
    details = _details(get, conversation_id)
    assert [entry["role"] for entry in details["transcript"]] == ["agent", "user", "agent", "user", "agent"]
    assert details["transcript"][1]["message"] == "When are you open?"
    assert (details["status"], details["agent_id"]) == ("done", "agent_text")
    assert details["metadata"]["feedback"]["likes"] == 1
    assert details["metadata"]["termination_reason"] == "Agent ended the conversation"


def test_an_interrupted_answer_is_told_as_far_as_it_was_heard(call: Call, get: Get) -> None:
    with call("agent_demo") as caller:
        conversation_id = _open(caller)
        caller.wait_for("audio")
        caller.write("When are you open?")
        correction = caller.wait_for("agent_response_correction")["agent_response_correction_event"]
    greeting = _details(get, conversation_id)["transcript"][0]

    assert greeting["interrupted"] is True
    assert greeting["message"] == correction["corrected_agent_response"]
    assert correction["original_agent_response"].startswith(greeting["message"])


def test_overrides_hold_where_the_agents_file_allows_them(call: Call) -> None:
    override = {"agent": {"first_message": "Hi.", "language": "es"}, "conversation": {"text_only": True}}
    with call("agent_demo") as caller:
        caller.send({**OPEN, "conversation_config_override": override})
        assert caller.wait_for("agent_response")["agent_response_event"]["agent_response"] == "Hi."
    with call("agent_strict") as caller:
        caller.send({**OPEN, "conversation_config_override": override})
        assert caller.wait_for_close() == (1008, "Override for field 'language' is not allowed by config.")
    assert caller.kinds() == ["error"]


def test_a_name_that_is_missing_is_asked_for(call: Call) -> None:
    with call("agent_named") as caller:
        caller.send(OPEN)
        code, reason = caller.wait_for_close()
    assert (code, "customer_name" in reason) == (1008, True)
    with call("agent_named") as caller:
        caller.send({**OPEN, "dynamic_variables": {"customer_name": "Ana"}})
        assert "Hello Ana" in caller.wait_for("agent_response")["agent_response_event"]["agent_response"]


def test_the_watched_agent_tells_of_its_tools(call: Call) -> None:
    with call("agent_watched") as caller:
        _open(caller)
        caller.write("What time is it on my device?")
        called = caller.wait_for("client_tool_call")["client_tool_call"]
        caller.send(
            {"type": "client_tool_result", "tool_call_id": called["tool_call_id"], "result": "noon", "is_error": False}
        )
        answer = caller.wait_for("agent_response", event_id=called["event_id"])

    assert answer["agent_response_event"]["agent_response"] == "On your device it is noon."
    assert {"agent_tool_request", "agent_tool_response", "asr_initiation_metadata"} <= set(caller.kinds())


def test_the_telephone_agent_speaks_mu_law(call: Call) -> None:
    with call("agent_phone") as caller:
        caller.send(OPEN)
        formats = caller.next()["conversation_initiation_metadata_event"]
        caller.wait_for("audio")
    assert (formats["agent_output_audio_format"], formats["user_input_audio_format"]) == ("ulaw_8000", "ulaw_8000")


@pytest.mark.parametrize(
    "frame", ["not json", "[]", '"text"', "{", b"\x00\x01", '{"type":"ping"}', "[" * 5000, '{"user_audio_chunk":1}']
)
def test_a_bad_frame_gets_an_error_event_and_1008(call: Call, frame: str | bytes) -> None:
    with call("agent_text") as caller:
        _open(caller)
        caller.socket.send(frame)
        code, reason = caller.wait_for_close()

    assert code == 1008
    assert caller.events[-1]["type"] == "error"
    assert caller.events[-1]["error_event"]["message"] == reason
    assert caller.events[-1]["error_event"]["error_type"] == "invalid_message"


def test_a_flood_of_tiny_frames_hurts_nobody_else(call: Call) -> None:
    with call("agent_text") as flooder, call("agent_text") as other:
        _open(flooder)
        _open(other)
        for _ in range(20_000):
            flooder.socket.send('{"type":"user_activity"}')
        other.wait_for("agent_response")
        other.write("When are you open?")
        assert "Monday" in other.wait_for("agent_response")["agent_response_event"]["agent_response"]
        flooder.write("When are you open?")
        flooder.wait_for("agent_response")


def test_a_rule_can_refuse_the_upgrade(call: Call, break_conversations: Break) -> None:
    break_conversations(nth=1, status=429, code="system_busy")
    with pytest.raises(InvalidStatus) as refused, call("agent_text"):
        pass
    assert refused.value.response.status_code == 429
    with call("agent_text") as caller:
        _open(caller)


def test_a_rule_can_close_after_some_frames_with_a_code_and_a_reason(
    call: Call, get: Get, break_conversations: Break
) -> None:
    break_conversations(nth=1, drop_after_frames=5, close_code=1011, close_reason="internal")
    with call("agent_text") as caller:
        conversation_id = _open(caller)
        assert caller.wait_for_close() == (1011, "internal")

    assert len(caller.events) == 5
    assert _details(get, conversation_id)["status"] == "failed"


def test_a_rule_can_cut_the_connection_without_a_word(call: Call, break_conversations: Break) -> None:
    break_conversations(nth=1, drop_after_frames=2)
    with call("agent_text") as caller:
        _open(caller)
        with pytest.raises(ConnectionClosed) as cut:
            for _ in range(3):
                caller.next()
    assert cut.value.rcvd is None


def test_a_rule_can_send_garbage(call: Call, break_conversations: Break) -> None:
    break_conversations(nth=1, garbage=True)
    with call("agent_text") as caller:
        caller.send(OPEN)
        frame = caller.socket.recv(timeout=LIMIT)
    assert not str(frame).startswith("{")


def test_a_rule_can_make_the_agent_silent_or_break_its_voice_off(call: Call, break_conversations: Break) -> None:
    lengths = {}
    for name, fault in (("usual", {}), ("silent", {"silence": True}), ("short", {"truncate": 0.3})):
        if fault:
            break_conversations(nth=1, **fault)
        with call("agent_strict") as caller:
            _open(caller)
            caller.wait_for("agent_response")
            caller.write("Do you have parking?")
            caller.wait_for("agent_response", event_id=2)
        lengths[name] = len(caller.sound())
        assert (_loudness(caller.sound()) < 1) is (name == "silent")
    assert 0 < lengths["short"] < lengths["usual"]


def test_rest_shows_the_agents_and_their_switches(get: Get) -> None:
    listed = get("/v1/convai/agents").json()["agents"]
    assert {"agent_demo", "agent_text", "agent_private"} <= {agent["agent_id"] for agent in listed}
    shown = get("/v1/convai/agents/agent_demo").json()
    switches = shown["platform_settings"]["overrides"]["conversation_config_override"]
    assert switches["agent"]["first_message"] is True
    assert switches["agent"]["prompt"]["prompt"] is False
    assert shown["conversation_config"]["language_presets"]["es"]
    assert get("/v1/convai/agents/agent_nobody").status_code == 404
    assert get("/v1/convai/agents", key=None).status_code == 401


def test_a_conversation_can_be_rated_without_a_key(shop: str, call: Call, get: Get) -> None:
    with call("agent_text") as caller:
        conversation_id = _open(caller)
    path = f"{shop}/v1/convai/conversations/{conversation_id}/feedback"

    assert requests.post(path, json={"feedback": "like"}, timeout=LIMIT).status_code == 200
    assert requests.post(path, json={"feedback": "meh"}, timeout=LIMIT).status_code == 422
    assert _details(get, conversation_id)["metadata"]["feedback"]["overall_score"] == "like"
    listed = get("/v1/convai/conversations", agent_id="agent_text").json()["conversations"]
    assert conversation_id in {conversation["conversation_id"] for conversation in listed}
    assert get("/v1/convai/conversations/conv_unknown").status_code == 404


def test_ids_of_new_sound_lie_above_every_interruption(call: Call) -> None:
    with call("agent_demo") as caller:
        _open(caller)
        caller.wait_for("audio")
        caller.write("When are you open?")
        interrupted = id_of(caller.wait_for("interruption"))
        caller.wait_for("audio")
        sounds = [event for event in caller.events if event["type"] == "audio"]
    assert id_of(sounds[-1]) > interrupted


def test_a_conversation_that_was_deleted_is_not_found_any_more(call: Call, get: Get, shop: str) -> None:
    with call("agent_text") as caller:
        conversation_id = _open(caller)
    path = f"/v1/convai/conversations/{conversation_id}"
    refused = requests.delete(f"{shop}{path}", timeout=LIMIT)
    assert refused.status_code == 401
    deleted = requests.delete(f"{shop}{path}", headers={"xi-api-key": KEY}, timeout=LIMIT)
    assert (deleted.status_code, deleted.json()) == (200, {})
    assert get(path).status_code == 404
    again = requests.delete(f"{shop}{path}", headers={"xi-api-key": KEY}, timeout=LIMIT)
    assert (again.status_code, again.json()["detail"]["code"]) == (404, "conversation_not_found")
    assert all(
        row["conversation_id"] != conversation_id for row in get("/v1/convai/conversations").json()["conversations"]
    )


def test_what_a_conversation_cost_is_known_when_it_is_over(call: Call, get: Get) -> None:
    with call("agent_text") as caller:
        conversation_id = _open(caller)
        caller.wait_for("agent_response")
        going_on = get(f"/v1/convai/conversations/{conversation_id}").json()
        caller.write("Goodbye!")
        caller.wait_for_close()
    assert (going_on["status"], going_on["metadata"]["cost"]) == ("in-progress", None)
    over = _details(get, conversation_id)
    spoken = [entry["message"] for entry in over["transcript"] if entry["role"] == "agent"]
    charging = over["metadata"]["charging"]
    assert charging["tts_usage"]["total_characters"] == sum(len(text) for text in spoken)
    assert over["metadata"]["cost"] == charging["call_charge"]
    assert isinstance(over["metadata"]["cost"], int)
