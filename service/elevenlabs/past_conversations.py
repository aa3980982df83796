"""What ElevenLabs keeps of a conversation that is over: asked what it cost, asked to delete it.

The key decision: only ElevenLabs' own word that there is no such conversation counts for a deletion. A 404 without it
may be a proxy's, or that of a base URL with a slip in it, and who believed it would leave the conversation there for
good. Sources: ElevenLabs' OpenAPI document of August 2026 (`ConversationHistoryMetadataCommonModel`).
"""

from __future__ import annotations

import http
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from service.elevenlabs.keys import KeyChoice
from service.elevenlabs.transport import HttpAnswer, HttpTransport
from service.elevenlabs.vocabulary import CONVERSATIONS_PATH
from service.errors import UpstreamProtocolError, UpstreamRequestError

MAX_DETAILS_BYTES = 4_194_304
"""A conversation's transcript is in them; parsing so many takes some 20 ms."""

MAX_SMALL_BODY_BYTES = 65_536
LARGEST_COUNT = 2**53

_UNSETTLED = frozenset({"initiated", "in-progress", "processing"})
_GONE = frozenset[int]({http.HTTPStatus.OK, http.HTTPStatus.NO_CONTENT})


@dataclass(frozen=True)
class CallCost:
    """What a conversation cost, as far as ElevenLabs says: credits, characters that were spoken, seconds."""

    credits: int | None = None
    characters: int | None = None
    call_seconds: int | None = None


def delete_conversation(keys: KeyChoice, transport: HttpTransport, conversation_id: str) -> None:
    """As `ElevenLabsService.delete_conversation`."""
    try:
        path = _path(conversation_id)
        answer = keys.send(lambda key: transport.send("DELETE", path, key=key, accepts=_GONE))
    except UpstreamRequestError as exc:
        if not _tells_of_no_such(exc):
            raise
        return
    answer.read_all(MAX_SMALL_BODY_BYTES)


def fetch_cost(keys: KeyChoice, transport: HttpTransport, conversation_id: str) -> CallCost | None:
    """As `ElevenLabsService.fetch_cost`.

    Raises:
        UpstreamRequestError: there is no such conversation; nor will there be.
    """
    path = _path(conversation_id)
    try:
        answer: HttpAnswer = keys.send(lambda key: transport.send("GET", path, key=key))
    except UpstreamRequestError as exc:
        _tells_of_no_such(exc)
        raise
    return read_cost(answer.read_all(MAX_DETAILS_BYTES))


def read_cost(document: bytes) -> CallCost | None:
    """What the details of a conversation say that it cost; None: not yet.

    Raises:
        UpstreamProtocolError: these are no details of a conversation.
    """
    try:
        details = orjson.loads(document)
    except orjson.JSONDecodeError:
        details = None  # raised below: the cause would quote the answer
    metadata = details.get("metadata") if isinstance(details, dict) else None
    if not isinstance(metadata, dict):
        raise UpstreamProtocolError("ElevenLabs' details of a conversation make no sense.", code="senseless_details")
    if details.get("status") in _UNSETTLED:
        return None
    usage = _object(_object(metadata, "charging"), "tts_usage")
    return CallCost(
        credits=_count(metadata.get("cost")),
        characters=_count(usage.get("total_characters")),
        call_seconds=_count(metadata.get("call_duration_secs")),
    )


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = fields.get(name)
    return inner if isinstance(inner, dict) else {}


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(value) if 0 <= value <= LARGEST_COUNT else None


def _path(conversation_id: str) -> str:
    # As a path segment these three would lead to another route, however they are quoted.
    if conversation_id in ("", ".", ".."):
        message = "There is no conversation of that id."
        raise UpstreamRequestError(message, code="conversation_not_found", status=http.HTTPStatus.NOT_FOUND)
    return f"{CONVERSATIONS_PATH}/{quote(conversation_id, safe='', errors='replace')}"


def _tells_of_no_such(exc: UpstreamRequestError) -> bool:
    """Tell whether ElevenLabs itself says that it has no such conversation.

    Raises:
        UpstreamProtocolError: it is a 404 that need not be ElevenLabs' at all.
    """
    if exc.status != http.HTTPStatus.NOT_FOUND:
        return False
    if exc.code != f"http_{exc.status}" or "conversation" in exc.message.lower():
        return True
    raise UpstreamProtocolError("A 404 without a word of ElevenLabs': something else answers.", code="foreign_404")
