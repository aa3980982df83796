"""What a client asks for when it opens a conversation: overrides and dynamic variables, checked and applied.

The key decision: an override that the agent's configuration does not allow ends the conversation, as at ElevenLabs,
rather than being ignored: a client that believes it changed the voice must not find out from its users.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from service.errors import RequestError
from service.fallback.local_agent_profile import AgentProfile

MAX_FIRST_MESSAGE_CHARACTERS = 5_000
# The widget keeps a written chat open for ten minutes without a message.
TEXT_INPUT_TIMEOUT_SECONDS = 600.0

_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


class Initiation(NamedTuple):
    """One conversation's effective profile and the values for `{{name}}` in what the agent says."""

    profile: AgentProfile
    variables: Mapping[str, str]


def read_initiation(profile: AgentProfile, event: Mapping[str, Any], *, conversation_id: str) -> Initiation:
    """Apply a `conversation_initiation_client_data` event ({} for none) to an agent.

    Raises:
        RequestError: an override that is not allowed or makes no sense (`override_error`), a dynamic variable that is
            missing (`missing_dynamic_variable`) or of a wrong type (`value_error`). Its message is the close reason.
    """
    effective = _apply_overrides(profile, event.get("conversation_config_override") or {})
    if effective.text_only:
        effective = replace(
            effective, input_timeout_seconds=max(effective.input_timeout_seconds, TEXT_INPUT_TIMEOUT_SECONDS)
        )
    variables = {
        **_read_variables(event.get("dynamic_variables") or {}),
        **_system_variables(profile, conversation_id),
    }
    fill_variables(effective.first_message, variables, place="first message")
    fill_variables(effective.prompt, variables, place="prompt")
    return Initiation(effective, variables)


def accept_initiation(profile: AgentProfile, event: Mapping[str, Any], *, conversation_id: str) -> Initiation:
    """Apply as much of a client's event to an agent as the agent can do; whatever it cannot is left out."""
    asked = event.get("conversation_config_override")
    for name, value in _acceptable_fields(asked if isinstance(asked, Mapping) else {}):
        apply = _APPLIERS.get(name)
        if apply is not None:
            with contextlib.suppress(RequestError):
                profile = apply(profile, value)
    variables = ForgivingVariables(_system_variables(profile, conversation_id))
    given = event.get("dynamic_variables")
    for name, value in (given if isinstance(given, Mapping) else {}).items():
        with contextlib.suppress(RequestError):
            variables.update(_read_variables({name: value}))
    return Initiation(profile, variables)


class ForgivingVariables(dict[str, str]):
    """Variables of which none is missing: one whose value only ElevenLabs knows is left out of what is said."""

    def __contains__(self, _name: object) -> bool:
        return True

    def __missing__(self, _name: str) -> str:
        return ""


def fill_variables(text: str, variables: Mapping[str, str], *, place: str) -> str:
    """Put the values in for `{{name}}`; `place` says where, for the message.

    Raises:
        RequestError: values are missing (`missing_dynamic_variable`).
    """
    missing = sorted({name for name in _VARIABLE.findall(text) if name not in variables})
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        raise RequestError(
            f"Missing required dynamic variables in {place}: {{{names}}}", code="missing_dynamic_variable"
        )
    return _VARIABLE.sub(lambda match: variables[match.group(1)], text)


def _system_variables(profile: AgentProfile, conversation_id: str) -> dict[str, str]:
    return {
        "system__agent_id": profile.agent_id,
        "system__conversation_id": conversation_id,
        "system__time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _read_variables(values: Mapping[str, Any]) -> dict[str, str]:
    read: dict[str, str] = {}
    for name, value in values.items():
        if name.startswith("system__"):
            raise RequestError(f"Dynamic variable '{name}' is reserved for the system.", code="value_error")
        if not isinstance(value, str | int | float | bool):
            raise RequestError(f"Dynamic variable '{name}' must be text, a number or a boolean.", code="value_error")
        read[name] = str(value)
    return read


def _apply_overrides(profile: AgentProfile, asked: Mapping[str, Any]) -> AgentProfile:
    for name, value in _asked_fields(asked):
        apply = _APPLIERS.get(name)
        if name == "text_only" and value is profile.text_only:
            continue  # asking for what is so anyway needs no permission
        if name not in profile.overrides:
            raise _override_error(f"Override for field '{name}' is not allowed by config.")
        if apply is not None:
            profile = apply(profile, value)
    return profile


def _asked_fields(asked: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """List the leaf fields that are set; language first, because other fields are kept by language."""
    found: list[tuple[str, Any]] = []
    # The Python SDK writes text_only at the top level when it has no audio interface.
    if asked.get("text_only") is not None:
        found.append(("text_only", asked["text_only"]))
    for group in ("agent", "tts", "asr", "turn", "conversation"):
        section = asked.get(group) or {}
        if not isinstance(section, Mapping):
            raise _override_error(f"The override '{group}' must be an object.")
        for name, value in section.items():
            found.extend(value.items() if group == "agent" and isinstance(value, Mapping) else [(name, value)])
    set_fields = [(name, value) for name, value in found if value is not None]
    return sorted(set_fields, key=lambda item: item[0] != "language")


def _acceptable_fields(asked: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """List the leaf fields of the sections that make sense."""
    sections = {name: value for name, value in asked.items() if isinstance(value, Mapping) or name == "text_only"}
    return _asked_fields(sections)


def _override_error(message: str) -> RequestError:
    return RequestError(message, code="override_error")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _override_error(f"The override '{name}' must be text.")
    return value


def _number(name: str, value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _override_error(f"The override '{name}' must be a number from {low} to {high}.")
    return float(value)


def _first_message(profile: AgentProfile, value: Any) -> AgentProfile:
    text = _text("first_message", value)
    if len(text) > MAX_FIRST_MESSAGE_CHARACTERS:
        raise _override_error(f"The override 'first_message' is longer than {MAX_FIRST_MESSAGE_CHARACTERS} characters.")
    return replace(profile, first_messages=dict.fromkeys(profile.languages, text))


def _language(profile: AgentProfile, value: Any) -> AgentProfile:
    language = _text("language", value)
    if language not in profile.languages:
        spoken = ", ".join(profile.languages)
        raise _override_error(f"The agent does not speak the language '{language[:20]}' (it speaks {spoken}).")
    return replace(profile, language=language, follows_language=False)


def _voice_id(profile: AgentProfile, value: Any) -> AgentProfile:
    voice_id = _text("voice_id", value)
    if profile.variant_of is None:
        return replace(profile, voice_id=voice_id)
    variant = profile.variant_of(voice_id)
    if variant is None:
        raise _override_error(f"A voice with voice_id '{voice_id[:40]}' was not found.")
    return replace(profile, voice_id=voice_id, voice_variant=variant)


def _text_only(profile: AgentProfile, value: Any) -> AgentProfile:
    if not isinstance(value, bool):
        raise _override_error("The override 'text_only' must be true or false.")
    return replace(profile, text_only=value)


def _client_events(profile: AgentProfile, value: Any) -> AgentProfile:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise _override_error("The override 'client_events' must be a list of event types.")
    return replace(profile, client_events=frozenset(value))


_APPLIERS: Mapping[str, Callable[[AgentProfile, Any], AgentProfile]] = {
    "first_message": _first_message,
    "language": _language,
    "prompt": lambda profile, value: replace(profile, prompt=_text("prompt", value)),
    "voice_id": _voice_id,
    "speed": lambda profile, value: replace(profile, speed=_number("speed", value, 0.7, 5)),
    "text_only": _text_only,
    "client_events": _client_events,
    "max_duration_seconds": lambda profile, value: replace(
        profile, max_duration_seconds=_number("max_duration_seconds", value, 1, 7200)
    ),
}
"""Fields that change what the local agent does; other allowed fields (llm, stability, keywords) mean nothing to it."""
