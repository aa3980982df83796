"""The order and the shape of what a local agent sends, turn by turn."""

from __future__ import annotations

from service.fallback.local_agent_speech import Pace
from service.fallback.talk_history import PastTurn
from tests.unit.fallback_agent.conftest import OpenTalk
from tests.unit.fallback_agent.talk import LONG_GREETING, Talk, event_id, sound_of

TURN_EVENTS = ("agent_response", "audio", "agent_chat_response_part", "interruption", "agent_response_correction")


def _turn_ids(talk: Talk) -> list[int]:
    return [event_id(event) for event in talk.events() if event["type"] in TURN_EVENTS]


def _wait_for_silence(talk: Talk, count: int) -> None:
    """Wait until the `count`-th answer has all its characters out."""

    def is_out() -> bool:
        answers = talk.events("agent_response")
        if len(answers) < count:
            return False
        answer = answers[count - 1]["agent_response_event"]
        chunks = [each["audio_event"] for each in talk.events("audio")]
        spoken = "".join(
            "".join(each["alignment"]["chars"]) for each in chunks if each["event_id"] == answer["event_id"]
        )
        return spoken == answer["agent_response"]

    talk.wait_until(is_out, f"whole {count}. answer")


def test_the_metadata_comes_first_and_once(open_talk: OpenTalk) -> None:
    talk = open_talk()
    _wait_for_silence(talk, 1)

    assert talk.kinds()[0] == "conversation_initiation_metadata"
    assert talk.kinds().count("conversation_initiation_metadata") == 1
    assert talk.events()[0]["conversation_initiation_metadata_event"] == {
        "conversation_id": "conv_test",
        "agent_output_audio_format": "pcm_16000",
        "user_input_audio_format": "pcm_16000",
    }


def test_the_greeting_is_turn_one_and_its_text_comes_with_the_first_sound(open_talk: OpenTalk) -> None:
    talk = open_talk()
    _wait_for_silence(talk, 1)

    spoken = [kind for kind in talk.kinds() if kind in TURN_EVENTS]
    assert spoken[:2] == ["agent_response", "audio"]
    assert talk.wait_for_answer(1) == LONG_GREETING
    assert set(_turn_ids(talk)) == {1}


def test_a_client_that_sends_no_initiation_is_greeted_after_a_while(start_talk: OpenTalk) -> None:
    talk = start_talk({"initiation_seconds": 0.01})

    assert talk.wait_for_answer(1) == LONG_GREETING


def test_an_empty_first_message_waits_for_the_user(start_talk: OpenTalk) -> None:
    talk = start_talk(overrides=frozenset({"first_message"}))
    talk.open(conversation_config_override={"agent": {"first_message": ""}})
    talk.write("What are your opening hours?")

    assert "nine" in talk.wait_for_answer(1) or "9" in talk.wait_for_answer(1)
    assert event_id(talk.events("agent_response")[0]) == 1


def test_the_alignment_of_all_chunks_spells_the_answer_within_the_sound(open_talk: OpenTalk) -> None:
    talk = open_talk()
    _wait_for_silence(talk, 1)

    for event in talk.events("audio"):
        times = event["audio_event"]["alignment"]
        length_ms = len(sound_of(event)) / 32
        starts = times["char_start_times_ms"]
        assert len(times["chars"]) == len(starts) == len(times["char_durations_ms"])
        assert starts == sorted(starts)
        assert all(0 <= start <= length_ms for start in starts)


def test_sound_comes_in_chunks_that_a_player_can_queue(open_talk: OpenTalk) -> None:
    talk = open_talk()
    _wait_for_silence(talk, 1)

    lengths = [len(sound_of(event)) / 32_000 for event in talk.events("audio")]
    assert max(lengths) <= 0.25
    assert sum(lengths) > 5.0
    assert max(sound_of(talk.events("audio")[1])) > 0  # it is not silence


def test_telephone_agents_speak_mu_law(open_talk: OpenTalk) -> None:
    talk = open_talk(output_format="ulaw_8000", input_format="ulaw_8000")
    _wait_for_silence(talk, 1)

    metadata = talk.events()[0]["conversation_initiation_metadata_event"]
    assert metadata["agent_output_audio_format"] == "ulaw_8000"
    seconds = sum(len(sound_of(event)) for event in talk.events("audio")) / 8_000
    assert 5.0 < seconds < 15.0


def test_the_lead_is_sent_at_once_and_the_rest_follows_the_pace(open_talk: OpenTalk) -> None:
    talk = open_talk({"pace": Pace(factor=0.001, lead_seconds=1.0)})
    talk.wait_until(lambda: _sent_seconds(talk) >= 1.0, "lead of a second")

    talk.write("Thank you.")
    talk.wait_for("interruption")

    # At a thousandth of real time nothing can have followed the lead.
    first_turn = [event for event in talk.events("audio") if event_id(event) == 1]
    assert sum(len(sound_of(event)) for event in first_turn) / 32_000 <= 1.0 + 0.25


def _sent_seconds(talk: Talk) -> float:
    return sum(len(sound_of(event)) for event in talk.events("audio")) / 32_000


def test_event_ids_rise_from_turn_to_turn(open_talk: OpenTalk) -> None:
    talk = open_talk()
    talk.wait_for_answer(1)
    for count, question in enumerate(("Where are you?", "Do you deliver?", "How can I pay?"), start=2):
        talk.write(question)
        _wait_for_silence(talk, count)

    answers = [event_id(event) for event in talk.events("agent_response")]
    assert answers == sorted(set(answers))
    for interruption in talk.events("interruption"):
        later = talk.events()[talk.events().index(interruption) + 1 :]
        sounds = [event_id(event) for event in later if event["type"] == "audio"]
        assert all(sound > event_id(interruption) for sound in sounds)


def test_a_typed_question_is_not_echoed_as_a_transcript(open_talk: OpenTalk) -> None:
    # ElevenLabs' widget shows typed text itself and would show it twice.
    talk = open_talk()
    talk.wait_for_answer(1)
    talk.write("What are your opening hours?")
    _wait_for_silence(talk, 2)

    assert talk.events("user_transcript") == []


def test_text_mode_streams_parts_that_add_up_to_the_answer(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True)
    talk.wait_for_answer(1)
    talk.write("What are your opening hours?")
    answer = talk.wait_for_answer(2)

    parts = [each["text_response_part"] for each in talk.events("agent_chat_response_part")]
    turn = [part for part in parts if part["event_id"] == 2]
    assert [turn[0]["type"], turn[-1]["type"]] == ["start", "stop"]
    assert {part["type"] for part in turn[1:-1]} == {"delta"}
    assert "".join(part["text"] for part in turn) == answer
    assert talk.events("audio") == []


def test_in_text_mode_the_next_question_cuts_no_answer_short(open_talk: OpenTalk) -> None:
    talk = open_talk({"pace": Pace(part_seconds=60.0)}, text_only=True)
    talk.wait_for("agent_chat_response_part")
    talk.write("Where are you?")

    assert talk.wait_for_answer(1) == LONG_GREETING
    assert talk.events("interruption") == []


def test_goodbye_is_answered_to_its_end_and_then_the_agent_hangs_up(open_talk: OpenTalk) -> None:
    talk = open_talk(text_only=True, client_events=frozenset({"agent_response", "agent_tool_response"}))
    talk.wait_for_answer(1)
    talk.write("Goodbye!")

    assert talk.wait_for_end() == (1000, "Agent ended the conversation")
    last = talk.events()[-1]
    assert last["type"] == "agent_tool_response"
    assert last["agent_tool_response"]["tool_name"] == "end_call"
    assert len(talk.events("agent_response")) == 2


def test_clients_get_only_the_events_that_are_configured(open_talk: OpenTalk) -> None:
    talk = open_talk(client_events=frozenset({"agent_response"}))
    talk.wait_for_answer(1)
    talk.write("Where are you?")
    talk.wait_for_answer(2)

    assert set(talk.kinds()) == {"conversation_initiation_metadata", "agent_response"}


def test_a_leg_that_takes_over_goes_on_above_the_ids_that_the_client_has_seen(open_talk: OpenTalk) -> None:
    history = (PastTurn("user", "When do you open?"), PastTurn("agent", "We open at nine."))
    talk = open_talk({"first_event_id": 41, "history": history}, text_only=True)
    talk.wait_for_answer(1)
    talk.write("Please repeat that.")

    assert talk.wait_for_answer(2)
    assert set(_turn_ids(talk)) == {41, 42}
