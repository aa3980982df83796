"""The Agents protocol as the relay needs it: what kind of message is this, and our own `error` event.

The key decision: peek, do not parse. Audio is nine tenths of the messages and all of the weight; its kind stands in
the first bytes and its `event_id` in the last, so an audio message is recognised without looking at its audio. A
pattern is anchored at the start of the message: the same words inside a nested object never match.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from service.elevenlabs.vocabulary import ClientEvent
from service.errors import RequestError

_HEAD_BYTES = 96
_TAIL_BYTES = 96
_USER_AUDIO_START = b'{"user_audio_chunk":"'  # as the browser SDK writes it; others put spaces in
_USER_AUDIO_HEAD = re.compile(rb'\s*\{\s*"user_audio_chunk"\s*:\s*"')
_AUDIO_HEAD = re.compile(rb'\s*\{\s*(?:"type"\s*:\s*"audio"\s*,\s*)?"audio_event"\s*:\s*\{')
_AUDIO_ID_HEAD = re.compile(rb'[^{]*\{[^{]*\{\s*"event_id"\s*:\s*(\d+)\s*,\s*"audio_base_64"')
_AUDIO_ID_TAIL = re.compile(rb'"\s*,\s*"event_id"\s*:\s*(\d+)\s*\}\s*(?:,\s*"type"\s*:\s*"audio"\s*)?\}\s*\Z')

OPENING_EVENTS = frozenset(ClientEvent) | {"enclave_setup_config"}
"""What a client may say first, besides audio: ElevenLabs takes a conversation without initiation data too.

On-premises SDKs send `enclave_setup_config` before the initiation.
"""

_ERROR_CODES = frozenset({1000, 1002, 1008, 1011})  # the enumeration in ElevenLabs' AsyncAPI document


def is_user_audio(data: bytes) -> bool:
    """Whether a client's message is an audio chunk and looks whole."""
    if not data.endswith(b'"}'):
        return False
    return data.startswith(_USER_AUDIO_START) or _USER_AUDIO_HEAD.match(data, 0, _HEAD_BYTES) is not None


def audio_id_span(data: bytes) -> tuple[int, int] | None:
    """Where in an agent's audio message its `event_id` stands (start, end); None when it is no such message.

    None also for audio in a shape that the peek does not know: the caller parses that one.
    """
    if not _AUDIO_HEAD.match(data, 0, _HEAD_BYTES):
        return None
    found = _AUDIO_ID_TAIL.search(data, max(0, len(data) - _TAIL_BYTES)) or _AUDIO_ID_HEAD.match(data, 0, _HEAD_BYTES)
    return found.span(1) if found else None


def parse_client_message(data: bytes) -> dict[str, Any]:
    """A client's message as an object.

    Raises:
        RequestError: not JSON, not an object, or neither audio nor a `type` in it.
    """
    try:
        message = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise RequestError("Invalid message received: it is not JSON.", code="malformed_json") from None
    if not isinstance(message, dict):
        raise RequestError("Invalid message received: it is not a JSON object.", code="invalid_message")
    if "user_audio_chunk" not in message and not isinstance(message.get("type"), str):
        raise RequestError("Invalid message received: it has no type.", code="invalid_message")
    return message


def build_error_event(code: int, message: str) -> bytes:
    """The `error` event that goes before a close that is not normal."""
    event = {"code": code if code in _ERROR_CODES else 1011, "message": message}
    return orjson.dumps({"type": "error", "error_event": event})
