"""What an operator may choose of the backup: voices by agent and language; and when a part is left alone."""

from __future__ import annotations

import pytest

from service.config import Settings
from service.errors import ConfigurationError
from service.fallback.backup import make_backup
from service.fallback.backup_lines import BACKUP_LINES, outage_greeting, outage_greetings, polite_refusal
from service.fallback.backup_parts import DEFAULT_FAQ
from service.fallback.backup_profile import BackupProfiles
from service.fallback.faq_dialogue import FaqDialogue
from service.fallback.patience import FAILURES, REST_SECONDS, Patience
from service.fallback.takeover import Takeover
from service.fallback.voice_choice import VoiceChoice, VoiceMap

MAP = {
    "*": {"*": "female", "es": "warm-woman"},
    "agent_x": {"en": "male/onyx", "*": "/alloy"},
    "voice_y": {"*": "deep-man"},
}


def _map() -> VoiceMap:
    return VoiceMap(MAP, has_remote=True)


@pytest.mark.parametrize(
    ("keys", "language", "variant"),
    [
        (("agent_x",), "en", "calm-man/onyx"),
        (("agent_x",), "en-GB", "calm-man/onyx"),
        (("agent_x",), "es", "/alloy"),
        (("agent_z",), "es-MX", "warm-woman"),
        (("agent_z",), None, "calm-woman"),
        (("voice_y", "agent_x"), "en", "deep-man"),
        ((None, "agent_x"), "EN", "calm-man/onyx"),
    ],
)
def test_the_nearest_entry_of_the_map_counts(keys: tuple[str | None, ...], language: str | None, variant: str) -> None:
    assert _map().variant(*keys, language=language) == variant


def test_without_a_map_the_voice_is_the_usual_one() -> None:
    assert VoiceMap({}, has_remote=False).variant("agent_x", language="en") is None


def test_a_choice_survives_being_a_string() -> None:
    for choice in (VoiceChoice("calm-man", "onyx"), VoiceChoice("calm-man"), VoiceChoice(None, "onyx"), VoiceChoice()):
        assert VoiceChoice.parse(str(choice)) == choice


@pytest.mark.parametrize(
    ("voices", "words"), [({"a": {"en": "loud-man"}}, "loud-man"), ({"a": {"en": "male/onyx"}}, "SPEECH_MODEL")]
)
def test_a_voice_that_there_is_not_stops_the_start(voices: dict[str, dict[str, str]], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        VoiceMap(voices, has_remote=False)


def test_the_settings_make_a_backup_that_opens_nothing_yet() -> None:
    voices = '{"*": {"*": "female/nova"}}'
    settings = Settings.model_validate(
        {"VOCERO_FALLBACK_VOICES": voices, "VOCERO_OPENAI_SPEECH_MODEL": "tts-1", "ELEVENLABS_API_KEY": "key"}
    )
    backup = make_backup(settings)

    assert not backup.legs.can_speak
    backup.close()


@pytest.mark.parametrize("value", ["{", "[1]", '{"a": "calm-man"}', '{"a": {"en": 7}}'])
def test_a_map_of_another_shape_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="VOCERO_FALLBACK_VOICES"):
        Settings.model_validate({"VOCERO_FALLBACK_VOICES": value, "ELEVENLABS_API_KEY": "key"})


# --- Profiles


@pytest.mark.parametrize(
    ("language", "any_language", "spoken", "follows"),
    [
        ("es-MX", False, "es", False),
        (None, False, "en", True),
        ("de", False, "en", True),
        ("de", True, "de", False),
        ("pt", True, "pt", False),
        (None, True, "en", True),
    ],
)
def test_the_agent_speaks_the_users_language_if_its_dialogue_does(
    language: str | None, any_language: bool, spoken: str, follows: bool
) -> None:
    profiles = BackupProfiles(VoiceMap({}, has_remote=False), any_language=any_language)
    profile, _ = profiles.of(Takeover(agent_id="a", conversation_id="c", language=language))

    assert (profile.language, profile.follows_language) == (spoken, follows)


def test_the_clients_voice_and_language_choose_the_backups_voice() -> None:
    initiation = {"conversation_config_override": {"agent": {"language": "es"}, "tts": {"voice_id": "voice_y"}}}
    profiles = BackupProfiles(_map(), any_language=False)
    profile, _ = profiles.of(Takeover(agent_id="agent_x", conversation_id="c", initiation=initiation))
    other, _ = profiles.of(Takeover(agent_id="agent_z", conversation_id="c", language="es"))

    assert (profile.language, profile.voice_variant) == ("es", "deep-man")
    assert other.voice_variant == "warm-woman"


# --- Lines


def test_every_line_is_there_in_every_language_and_an_unknown_language_gets_english() -> None:
    assert set(outage_greetings()) == set(BACKUP_LINES)
    for language in BACKUP_LINES:
        assert polite_refusal(language) != polite_refusal("xx") or language == "en"
        assert outage_greeting(f"{language}-XX") == outage_greetings()[language]
    assert polite_refusal(None) == polite_refusal("en")


def test_no_line_speaks_of_packages_to_users() -> None:
    for lines in BACKUP_LINES.values():
        assert "extra" not in lines.cannot_hear


@pytest.mark.parametrize(
    ("question", "topic"),
    [
        ("Why do you sound so different?", "what-happened"),
        ("¿Por qué suena diferente?", "what-happened"),
        ("When will it work again?", "when-back"),
        ("Can you say that again please?", "repeat"),
        ("Bye bye", "goodbye"),
        ("Adiós", "goodbye"),
        ("I would like to talk to a human", "human"),
        ("How much does the blue blanket cost?", None),
        ("¿Cuánto cuesta la manta azul?", None),
        ("What is the capital of France?", None),
    ],
)
def test_the_packaged_file_answers_little_and_honestly(question: str, topic: str | None) -> None:
    assert FaqDialogue.load(DEFAULT_FAQ).reply(question).topic == topic


# --- Patience


def test_a_part_is_left_alone_after_three_failures_in_a_row_and_then_tried_once() -> None:
    now = [100.0]
    patience = Patience(clock=lambda: now[0])
    for _ in range(FAILURES - 1):
        patience.failed()
    patience.worked()
    for _ in range(FAILURES):
        assert patience.is_left
        patience.failed()
    assert not patience.is_left

    now[0] += REST_SECONDS
    assert patience.is_left
    patience.failed()
    assert not patience.is_left
    now[0] += REST_SECONDS
    patience.worked()
    patience.failed()
    assert patience.is_left
