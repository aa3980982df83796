"""The Agents protocol as the relay needs it: what kind of message is this, and our own `error` event.

The key decision: peek, do not parse. Audio is nine tenths of the messages and all of the weight; its kind stands in
the first bytes and its `event_id` in the last, so an audio message is recognised without looking at its audio. A
pattern is anchored at the start of the message: the same words inside a nested object never match.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import orjson

from service.elevenlabs.vocabulary import ClientEvent
from service.errors import RequestError

_HEAD_BYTES = 96
_TAIL_BYTES = 96
USER_AUDIO_START = b'{"user_audio_chunk":"'  # as the browser SDK writes it; others put spaces in
_USER_AUDIO_HEAD = re.compile(rb'\s*\{\s*"user_audio_chunk"\s*:\s*"')
_AUDIO_HEAD = re.compile(rb'\s*\{\s*(?:"type"\s*:\s*"audio"\s*,\s*)?"audio_event"\s*:\s*\{')
_AUDIO_ID_HEAD = re.compile(rb'[^{]*\{[^{]*\{\s*"event_id"\s*:\s*(\d+)\s*,\s*"audio_base_64"')
_AUDIO_ID_TAIL = re.compile(rb'["}]\s*,\s*"event_id"\s*:\s*(\d+)\s*\}\s*(?:,\s*"type"\s*:\s*"audio"\s*)?\}\s*\Z')

OPENING_EVENTS = frozenset(ClientEvent) | {"enclave_setup_config"}
"""What a client may say first, besides audio: ElevenLabs takes a conversation without initiation data too.

On-premises SDKs send `enclave_setup_config` before the initiation.
"""

_ERROR_CODES = frozenset({1000, 1002, 1008, 1011})  # the enumeration in ElevenLabs' AsyncAPI document


def user_audio_start(data: bytes) -> bytes:
    """What a client's message begins with before its audio; empty when it is no audio chunk or does not look whole."""
    found = data.endswith(b'"}') and _USER_AUDIO_HEAD.match(data, 0, _HEAD_BYTES)
    return found.group() if found else b""


class AudioPeek(NamedTuple):
    """What stands around an agent's audio: `event_id` (from `id_begin` to `id_end`), and the bytes that this message's
    neighbours of the same turn begin and end with too."""

    event_id: int
    id_begin: int
    id_end: int
    first: bytes
    last: bytes


def peek_audio(data: bytes) -> AudioPeek | None:
    """Look at what may be an agent's audio message; None when it is none, or in a shape that the peek does not know."""
    head = _AUDIO_HEAD.match(data, 0, _HEAD_BYTES)
    if not head:
        return None
    if found := _AUDIO_ID_TAIL.search(data, max(0, len(data) - _TAIL_BYTES)):
        first, last = data[: head.end()], data[found.start() + 1 :]
    elif found := _AUDIO_ID_HEAD.match(data, 0, _HEAD_BYTES):
        first, last = data[: found.end()], data[-2:]
    else:
        return None
    return AudioPeek(int(found[1]), *found.span(1), first, last)


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


def build_agent_changed(before: str, now: str, cause: str, *, spliced: bool) -> bytes:
    """Our own event for clients that ask: another provider speaks; `spliced`: in the middle of an answer."""
    event = {"from": before, "to": now, "cause": cause, "spliced": spliced}
    return orjson.dumps({"type": "agent_changed", "agent_changed_event": event})
