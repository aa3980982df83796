"""The Agents protocol's events, as ElevenLabs writes them: makers for the server's, a check for the client's.

The key decision: the shapes stand here only, so that the agent speaks of "audio" and "interruption" and nobody else
types a payload key. Source: agents.asyncapi.yaml of @elevenlabs/types 0.23.0.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from service.errors import RequestError

Event = dict[str, Any]

INITIATION = "conversation_initiation_client_data"
USER_AUDIO = "user_audio_chunk"
ORCHESTRATOR_SETUP = "enclave_setup_config"

_TEXT: tuple[type, ...] = (str,)
_NULLABLE_TEXT = (str, type(None))
_NULLABLE_OBJECT = (dict, type(None))

# Per client event: its fields, the types they may have, and whether they must be there.
_FIELDS: Mapping[str, Mapping[str, tuple[tuple[type, ...], bool]]] = {
    USER_AUDIO: {USER_AUDIO: (_TEXT, True)},
    INITIATION: {
        "conversation_config_override": (_NULLABLE_OBJECT, False),
        "custom_llm_extra_body": (_NULLABLE_OBJECT, False),
        "dynamic_variables": (_NULLABLE_OBJECT, False),
        "source_info": (_NULLABLE_OBJECT, False),
        "user_id": (_NULLABLE_TEXT, False),
    },
    ORCHESTRATOR_SETUP: {},
    "pong": {"event_id": ((int,), True)},
    "user_message": {"text": (_NULLABLE_TEXT, False), "rich_content_id": (_NULLABLE_TEXT, False)},
    "user_activity": {},
    "contextual_update": {"text": (_TEXT, True), "context_id": (_NULLABLE_TEXT, False)},
    "client_tool_result": {
        "tool_call_id": (_TEXT, True),
        "result": ((str, int, float, bool, dict, list, type(None)), True),
        "is_error": ((bool,), False),
    },
    "mcp_tool_approval_result": {"tool_call_id": (_TEXT, True), "is_approved": ((bool,), True)},
    "feedback": {"event_id": ((int,), True), "score": (_NULLABLE_TEXT, True)},
    "multimodal_message": {
        "text": (_NULLABLE_OBJECT, False), "file": (_NULLABLE_OBJECT, False), "files": ((list, type(None)), False),
    },
}  # fmt: skip


def read_kind(event: Mapping[str, Any]) -> str | None:
    """Return the client event's type ("user_audio_chunk" for the one without), or None for one that is unknown.

    Raises:
        RequestError: a field is missing or of a wrong type; `code` is ElevenLabs' error type.
    """
    kind = event.get("type", USER_AUDIO if USER_AUDIO in event else None)
    fields = _FIELDS.get(kind) if isinstance(kind, str) else None
    if fields is None:
        return None
    for name, (types, required) in fields.items():
        _check(kind, name, event, types, required=required)
    return str(kind)


def _check(kind: object, name: str, event: Mapping[str, Any], types: tuple[type, ...], *, required: bool) -> None:
    if name not in event:
        if required:
            raise RequestError(f"The event '{kind}' needs the field '{name}'.", code="missing_fields", param=name)
        return
    value = event[name]
    is_number_for_bool = isinstance(value, bool) and bool not in types
    if is_number_for_bool or not isinstance(value, types):
        raise RequestError(
            f"The field '{name}' of the event '{kind}' has a wrong type.", code="invalid_message", param=name
        )


def metadata(conversation_id: str, output_format: str, input_format: str) -> Event:
    """The first event of every conversation."""
    return {
        "type": "conversation_initiation_metadata",
        "conversation_initiation_metadata_event": {
            "conversation_id": conversation_id,
            "agent_output_audio_format": output_format,
            "user_input_audio_format": input_format,
        },
    }


def asr_metadata() -> Event:
    """Transcription is set up."""
    return {"type": "asr_initiation_metadata", "asr_initiation_metadata_event": {}}


def ping(event_id: int, ping_ms: int | None) -> Event:
    """Ask for a pong; `ping_ms` is the last round trip, and the key must be there (the Python SDK reads it)."""
    return {"type": "ping", "ping_event": {"event_id": event_id, "ping_ms": ping_ms}}


def audio(event_id: int, sound: bytes, alignment: Mapping[str, list[Any]]) -> Event:
    """A chunk of speech; the alignment's times are milliseconds from the chunk's begin."""
    return {
        "type": "audio",
        "audio_event": {
            "audio_base_64": base64.b64encode(sound).decode(),
            "event_id": event_id,
            "alignment": dict(alignment),
        },
    }


def user_transcript(event_id: int, text: str) -> Event:
    """What the user said."""
    return {"type": "user_transcript", "user_transcription_event": {"user_transcript": text, "event_id": event_id}}


def tentative_user_transcript(event_id: int, text: str) -> Event:
    """What the user seems to have said; the final one follows."""
    return {
        "type": "tentative_user_transcript",
        "tentative_user_transcription_event": {"user_transcript": text, "event_id": event_id},
    }


def agent_response(event_id: int, text: str) -> Event:
    """The agent's whole answer."""
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def agent_response_correction(event_id: int, original: str, corrected: str) -> Event:
    """What the user got to hear of an answer that was interrupted."""
    return {
        "type": "agent_response_correction",
        "agent_response_correction_event": {
            "original_agent_response": original,
            "corrected_agent_response": corrected,
            "event_id": event_id,
        },
    }


def chat_response_part(event_id: int, part: str, text: str = "") -> Event:
    """A piece of a written answer; `part` is start, delta or stop."""
    return {
        "type": "agent_chat_response_part",
        "text_response_part": {"text": text, "type": part, "event_id": event_id},
    }


def interruption(event_id: int) -> Event:
    """Whoever plays the answer `event_id` must stop."""
    return {"type": "interruption", "interruption_event": {"event_id": event_id}}


def client_tool_call(event_id: int, tool_name: str, call_id: str, parameters: Mapping[str, object]) -> Event:
    """Ask the client to run one of its functions."""
    return {
        "type": "client_tool_call",
        "client_tool_call": {
            "tool_name": tool_name,
            "tool_call_id": call_id,
            "parameters": dict(parameters),
            "event_id": event_id,
        },
    }


def agent_tool_request(event_id: int, tool_name: str, call_id: str, tool_type: str) -> Event:
    """The agent is about to use a tool; `tool_type` is client or system."""
    return {
        "type": "agent_tool_request",
        "agent_tool_request": {
            "tool_name": tool_name,
            "tool_call_id": call_id,
            "tool_type": tool_type,
            "event_id": event_id,
        },
    }


def agent_tool_response(event_id: int, tool_name: str, call_id: str, tool_type: str, *, is_error: bool) -> Event:
    """A tool has run."""
    return {
        "type": "agent_tool_response",
        "agent_tool_response": {
            "tool_name": tool_name,
            "tool_call_id": call_id,
            "tool_type": tool_type,
            "is_error": is_error,
            "is_called": True,
            "event_id": event_id,
        },
    }


def vad_score(score: float) -> Event:
    """How likely it is that the user speaks now, from 0 to 1."""
    return {"type": "vad_score", "vad_score_event": {"vad_score": score}}


def error(code: int, message: str, error_type: str) -> Event:
    """Why the conversation is about to be closed with `code`; `error_type` is one of the contract's."""
    return {
        "type": "error",
        "error_event": {"code": code, "message": message, "error_type": error_type, "reason": message},
    }
