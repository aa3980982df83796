"""What clients send to the speech sockets, read as far as it concerns us.

The key decision: what a setting may be is for ElevenLabs to say, so a message goes on as it came. Only credentials are
taken out: clients show us a key of ours, which nobody at ElevenLabs shall see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from service.elevenlabs.vocabulary import SpeechSocketRoute
from service.errors import RequestError
from service.websocket import TEXT, Message

CREDENTIALS = ("xi_api_key", "xi-api-key", "authorization", "single_use_token")
"""Fields of a first message, and of the query, that bring one."""

_BEARER = "bearer "


@dataclass(frozen=True)
class ClientMessage:
    """One message: `data` to send on, and what of it is ours to know."""

    data: bytes
    fields: Mapping[str, Any]
    credential: str | None
    route: SpeechSocketRoute

    @property
    def text(self) -> str:
        """What is to be spoken; a space keeps the socket open."""
        text = self.fields.get("text")
        return text if isinstance(text, str) else ""

    @property
    def characters(self) -> int:
        """How many of them are to be spoken."""
        return len(self.text) if self.text.strip() else 0

    @property
    def context_id(self) -> str | None:
        """Which context of `multi-stream-input` it is for; None: the one without a name."""
        found = self.fields.get("context_id", self.fields.get("contextId"))
        return found if isinstance(found, str) else None

    @property
    def ends_socket(self) -> bool:
        """Whether it is the client's last: what was sent is to be spoken, and then the socket ends."""
        if self.route is SpeechSocketRoute.STREAM_INPUT:
            return self.fields.get("text") == ""
        return self.fields.get("close_socket") is True

    @property
    def wants_sound(self) -> bool:
        """Whether all text until here is to be spoken now."""
        return self.ends_socket or self.fields.get("flush") is True


def read_client_message(message: Message, route: SpeechSocketRoute) -> ClientMessage:
    """Read one message.

    Raises:
        RequestError: it is no JSON object in a text message.
    """
    fields = None
    if message.opcode == TEXT:
        try:
            fields = orjson.loads(message.data)
        except orjson.JSONDecodeError:
            fields = None  # raised below: the cause would quote the text
    if not isinstance(fields, dict):
        raise RequestError("Messages must be JSON objects in text frames.", code="invalid_message")
    shown = [fields.pop(name) for name in CREDENTIALS if name in fields]
    data = orjson.dumps(fields) if shown else message.data
    credential = next((text for text in shown if isinstance(text, str) and text), None)
    return ClientMessage(data, fields, _bare(credential), route)


def read_query(query: str) -> tuple[str, str | None]:
    """The query to send on, and the credential that it brought, if it did."""
    fields = parse_qsl(query, keep_blank_values=True)
    shown = next((value for name, value in fields if name in CREDENTIALS and value), None)
    return urlencode([(name, value) for name, value in fields if name not in CREDENTIALS]), _bare(shown)


def _bare(credential: str | None) -> str | None:
    if credential is not None and credential[: len(_BEARER)].lower() == _BEARER:
        return credential[len(_BEARER) :].strip()
    return credential
