"""What a client may ask for when it opens a conversation, and how it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from service.fallback.local_agent_profile import LINES
from tests.unit.fallback_agent.conftest import OpenTalk
from tests.unit.fallback_agent.talk import INITIATION, LONG_GREETING

ALL = frozenset(
    {"first_message", "language", "prompt", "voice_id", "speed", "text_only", "client_events", "max_duration_seconds"}
)


@pytest.mark.parametrize(
    ("field", "override"),
    [
        ("first_message", {"agent": {"first_message": "Hi."}}),
        ("language", {"agent": {"language": "es"}}),
        ("prompt", {"agent": {"prompt": {"prompt": "You are a pirate."}}}),
        ("llm", {"agent": {"prompt": {"llm": "gpt-4o"}}}),
        ("voice_id", {"tts": {"voice_id": "someone"}}),
        ("speed", {"tts": {"speed": 1.1}}),
        ("stability", {"tts": {"stability": 0.3}}),
        ("keywords", {"asr": {"keywords": ["map"]}}),
        ("text_only", {"conversation": {"text_only": True}}),
        ("text_only", {"text_only": True}),
        ("max_duration_seconds", {"conversation": {"max_duration_seconds": 60}}),
    ],
)
def test_an_override_that_is_not_allowed_ends_the_conversation(
    start_talk: OpenTalk, field: str, override: dict[str, Any]
) -> None:
    talk = start_talk()
    talk.send(INITIATION, conversation_config_override=override)

    reason = f"Override for field '{field}' is not allowed by config."
    assert talk.wait_for_end() == (1008, reason)
    assert talk.kinds() == ["error"]
    error = talk.events()[0]["error_event"]
    assert (error["code"], error["error_type"], error["message"]) == (1008, "override_error", reason)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"agent": {"language": "de"}}, "language 'de'"),
        ({"agent": {"language": 7}}, "'language' must be text"),
        ({"agent": {"first_message": "x" * 6000}}, "longer than 5000"),
        ({"tts": {"voice_id": "nobody"}}, "voice_id 'nobody' was not found"),
        ({"tts": {"speed": 17}}, "'speed' must be a number"),
        ({"tts": "loud"}, "'tts' must be an object"),
        ({"conversation": {"text_only": "yes"}}, "'text_only' must be true or false"),
        ({"conversation": {"client_events": []}}, "'client_events' must be a list"),
    ],
)
def test_an_override_that_makes_no_sense_is_named(start_talk: OpenTalk, override: dict[str, Any], words: str) -> None:
    talk = start_talk(overrides=ALL, variant_of=lambda _: None)
    talk.send(INITIATION, conversation_config_override=override)
    code, reason = talk.wait_for_end()

    assert code == 1008
    assert words in reason


def test_what_the_sdks_send_without_meaning_anything_is_no_override(open_talk: OpenTalk, start_talk: OpenTalk) -> None:
    talk = start_talk()
    # The JS SDK sends empty groups, the Python SDK empty objects.
    talk.open(
        conversation_config_override={"agent": {"prompt": {}}, "tts": {}, "conversation": {}},
        custom_llm_extra_body={},
        dynamic_variables={},
        source_info={"source": "js_sdk", "version": "1.25.0"},
    )

    assert talk.wait_for_answer(1) == LONG_GREETING


def test_a_text_agent_may_be_asked_to_be_one(start_talk: OpenTalk) -> None:
    talk = start_talk(text_only=True)
    talk.open(conversation_config_override={"text_only": True, "conversation": {"text_only": True}})

    assert talk.wait_for_answer(1) == LONG_GREETING


@pytest.mark.parametrize("override", [{"text_only": True}, {"conversation": {"text_only": True}}])
def test_text_mode_can_be_asked_for_at_both_places(start_talk: OpenTalk, override: dict[str, Any]) -> None:
    talk = start_talk(overrides=ALL)
    talk.open(conversation_config_override=override)
    talk.wait_for_answer(1)

    assert talk.events("agent_chat_response_part")
    assert not talk.events("audio")


def test_the_language_decides_greeting_answers_and_lines(start_talk: OpenTalk) -> None:
    talk = start_talk(overrides=ALL)
    talk.open(conversation_config_override={"text_only": True, "agent": {"language": "es"}})
    talk.write("¿Cuál es su horario?")

    assert talk.wait_for_answer(1) == "Hola, bienvenido a nuestra tienda."
    assert "de lunes a viernes" in talk.wait_for_answer(2).casefold()
    talk.send("multimodal_message", file={"type": "file_input", "file_id": "f1"})
    assert talk.wait_for_answer(3) == LINES["es"].cannot_see


def test_a_greeting_of_the_clients_own_holds_in_the_language_that_it_asks_for(start_talk: OpenTalk) -> None:
    talk = start_talk(overrides=ALL)
    talk.open(
        conversation_config_override={"text_only": True, "agent": {"first_message": "¡Buenas!", "language": "es"}}
    )

    assert talk.wait_for_answer(1) == "¡Buenas!"


def test_speed_and_voice_change_the_sound(start_talk: OpenTalk) -> None:
    lengths = []
    for override in ({}, {"tts": {"speed": 2.0, "voice_id": "deep"}}):
        talk = start_talk(overrides=ALL, variant_of={"deep": "deep-man"}.get)
        talk.open(conversation_config_override=override)
        talk.wait_until(lambda talk=talk: LONG_GREETING in _spoken(talk), "whole greeting")
        lengths.append(sum(len(event["audio_event"]["audio_base_64"]) for event in talk.events("audio")))

    assert lengths[1] < lengths[0] * 0.7


def _spoken(talk: Any) -> str:
    return "".join("".join(each["audio_event"]["alignment"]["chars"]) for each in talk.events("audio"))


def test_dynamic_variables_are_put_into_what_the_agent_says(start_talk: OpenTalk) -> None:
    greeting = "Hello {{ name }}, you are number {{count}} in {{system__conversation_id}}."
    talk = start_talk(text_only=True, first_messages={"en": greeting})
    talk.open(dynamic_variables={"name": "Ana", "count": 3, "unused": True})

    assert talk.wait_for_answer(1) == "Hello Ana, you are number 3 in conv_test."


def test_a_missing_dynamic_variable_ends_the_conversation_by_name(start_talk: OpenTalk) -> None:
    talk = start_talk(first_messages={"en": "Hello {{name}} from {{place}}."})
    talk.send(INITIATION, dynamic_variables={"place": "here"})

    assert talk.wait_for_end() == (1008, "Missing required dynamic variables in first message: {'name'}")
    assert talk.events("error")[0]["error_event"]["error_type"] == "missing_dynamic_variable"
    assert not talk.events("conversation_initiation_metadata")


@pytest.mark.parametrize("variables", [{"name": ["Ana"]}, {"system__agent_id": "me"}])
def test_a_dynamic_variable_of_a_wrong_kind_is_refused(start_talk: OpenTalk, variables: dict[str, Any]) -> None:
    talk = start_talk()
    talk.send(INITIATION, dynamic_variables=variables)
    code, reason = talk.wait_for_end()

    assert code == 1008
    assert next(iter(variables)) in reason


def test_a_second_initiation_is_an_invalid_message(open_talk: OpenTalk) -> None:
    talk = open_talk()
    talk.send(INITIATION)

    assert talk.wait_for_end() == (1008, "Invalid message received")


def test_an_orchestrators_setup_may_come_before_the_initiation(start_talk: OpenTalk) -> None:
    talk = start_talk()
    talk.send("enclave_setup_config", agent_config_dict=None)
    talk.open()

    assert talk.wait_for_answer(1) == LONG_GREETING
