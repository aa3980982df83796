"""What every provider of a conversation's leg does alike, whoever it is."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

from scripts.launcher.waiting import wait_until
from tests.integration.providers.conftest import Provider
from tests.integration.providers.leg_talk import LIMIT, LegTalk, turn_ids

LONG_TEXT = " ".join(f"This is sentence number {number} of a text that is rather long." for number in range(1, 13))
PATIENT_GREETING = "Hello, and welcome. I have a lot to tell you today, so please listen to all of it for a while."


def _greeting(text: str) -> dict[str, Any]:
    return {"conversation_config_override": {"agent": {"first_message": text}}}


def _interrupted(talk: LegTalk) -> int:
    found: int = talk.wait_for("interruption")["interruption_event"]["event_id"]
    return found


def test_the_metadata_comes_first_and_once(provider: Provider) -> None:
    talk = provider.open(_greeting("Hello."))
    talk.wait_for_spoken_answer(1)

    assert talk.kinds()[0] == "conversation_initiation_metadata"
    assert talk.kinds().count("conversation_initiation_metadata") == 1
    metadata = talk.events[0]["conversation_initiation_metadata_event"]
    assert metadata["agent_output_audio_format"] == metadata["user_input_audio_format"] == "pcm_16000"


def test_every_answer_is_flushed_to_its_last_word_and_ids_rise(provider: Provider) -> None:
    talk = provider.open(_greeting("Hello."))
    talk.wait_for_spoken_answer(1)
    for count, question in enumerate(("Thank you.", "Can you repeat that?"), start=2):
        talk.write(question)
        talk.wait_for_spoken_answer(count)

    ids = turn_ids(talk.events)
    assert ids == sorted(ids)
    assert len(set(ids)) >= 3


def test_a_barge_in_stops_the_voice_and_tells_what_was_heard(provider: Provider) -> None:
    talk = provider.open(_greeting(PATIENT_GREETING))
    talk.wait_for("audio")
    talk.write("Thank you.")
    interrupted = _interrupted(talk)
    correction = talk.wait_for("agent_response_correction")["agent_response_correction_event"]
    talk.wait_for_spoken_answer(2)

    assert correction["original_agent_response"] == PATIENT_GREETING
    heard = correction["corrected_agent_response"]
    assert PATIENT_GREETING.startswith(heard)
    assert len(heard) < len(PATIENT_GREETING)
    later = talk.events[talk.kinds().index("interruption") :]
    assert all(event["audio_event"]["event_id"] > interrupted for event in later if event["type"] == "audio")


def test_questions_that_come_faster_than_answers_are_not_mixed_up(provider: Provider) -> None:
    talk = provider.open(_greeting("Hello."))
    talk.wait_for_spoken_answer(1)
    for question in ("Hello?", "Thank you.", "Can you repeat that?"):
        talk.write(question)
    last_id = talk.wait_for("agent_response", 2)["agent_response_event"]["event_id"]
    talk.read_until(
        lambda: (
            (answer := talk.of("agent_response")[-1]["agent_response_event"])
            and talk.spoken(answer["event_id"]) == answer["agent_response"]
        ),
        "whole answer to the last question",
    )

    assert last_id > 1
    ids = [event["audio_event"]["event_id"] for event in talk.of("audio")]
    assert ids == sorted(ids)


def test_a_long_text_is_spoken_whole(provider: Provider) -> None:
    talk = provider.open(_greeting(LONG_TEXT))

    assert talk.wait_for_spoken_answer(1)[1] == LONG_TEXT
    sound = sum(len(event["audio_event"]["audio_base_64"]) for event in talk.of("audio"))
    assert sound > 20 * 32_000  # base64 of a quarter of a minute at the least


def test_a_written_conversation_has_no_sound(provider: Provider) -> None:
    override = {"agent": {"first_message": "Hello."}, "conversation": {"text_only": True}}
    talk = provider.open({"conversation_config_override": override})
    talk.wait_for("agent_response")
    talk.write("Thank you.")
    talk.wait_for("agent_response", 2)

    assert talk.of("audio") == []
    parts = [event["text_response_part"]["text"] for event in talk.of("agent_chat_response_part")]
    assert "".join(parts) == "".join(talk.answers())


def test_a_tool_is_called_or_its_late_result_does_no_harm(provider: Provider) -> None:
    talk = provider.open(_greeting("Hello."))
    talk.wait_for_spoken_answer(1)
    if provider.has_tools:
        talk.write("What time is it on my device?")
        call = talk.wait_for("client_tool_call")["client_tool_call"]
        talk.send("client_tool_result", tool_call_id=call["tool_call_id"], result="ten past ten", is_error=False)
        assert "ten past ten" in talk.wait_for_spoken_answer(2)[1]
    talk.send("client_tool_result", tool_call_id="tool_of_another_leg", result="late", is_error=False)
    answered = len(talk.of("agent_response"))
    talk.write("Thank you.")
    talk.wait_for_spoken_answer(answered + 1)


def test_what_needs_no_answer_gets_none(provider: Provider) -> None:
    talk = provider.open(_greeting("Hello."))
    event_id, _ = talk.wait_for_spoken_answer(1)
    talk.send("contextual_update", text="The user looks at the prices.")
    talk.send("user_activity")
    talk.send("feedback", event_id=event_id, score="like")
    talk.send("pong", event_id=4711)
    talk.write("Thank you.")
    talk.wait_for_spoken_answer(2)

    assert len(talk.of("agent_response")) == 2


def test_legs_open_and_close_one_after_the_other_and_leave_nothing(provider: Provider) -> None:
    provider.open({}).end()
    wait_until(lambda: _leg_threads() == 0, LIMIT)
    files = _open_files()
    for number in range(10):
        talk = provider.open(_greeting("Hello."))
        talk.wait_for("conversation_initiation_metadata")
        (talk.leg.socket.abort if number % 2 else talk.leg.socket.close)()

    wait_until(lambda: _leg_threads() == 0 and _open_files() <= files + 1 + provider.kept_connections, LIMIT)


def test_the_clients_goodbye_is_answered(provider: Provider) -> None:
    talk = provider.open(_greeting("Hello."))
    talk.wait_for("conversation_initiation_metadata")
    talk.leg.socket.close(1000, "User ended conversation", timeout=LIMIT)

    assert not talk.leg.socket.is_open


def test_ids_of_two_legs_do_not_depend_on_each_other(provider: Provider) -> None:
    first, second = (provider.open(_greeting("Hello.")) for _ in range(2))
    for talk in (first, second):
        talk.wait_for_spoken_answer(1)

    assert [turn_ids(talk.events)[0] for talk in (first, second)] == list(itertools.repeat(1, 2))


def _leg_threads() -> int:
    return sum(thread.name.startswith("local-") for thread in threading.enumerate())


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
