"""The live two-way leg: a conversation's socket at ElevenLabs.

The key decision: the key is used for one request only, the one for a signed URL; the socket is then opened with that
URL and nothing else, and only after its host was checked, because whoever it names hears our users' voices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import orjson

from service.elevenlabs.faults import error_from_event, error_from_exception
from service.elevenlabs.vocabulary import ClientEvent, CloseCode, ServerEvent
from service.errors import ConnectionClosedError, SocketError, UpstreamProtocolError
from service.websocket import WebSocketConnection

ELEVENLABS_DOMAIN = ".elevenlabs.io"

_SOCKET_SCHEMES = {"https": "wss", "http": "ws"}
_DEFAULT_PORTS = {"wss": 443, "ws": 80, "https": 443, "http": 80}
_URL_CHARACTERS = re.compile(r"[!-~]+")


class LiveConversation:
    """An open conversation. A relay uses `socket` itself; the methods here are for a program that talks.

    `conversation_id` is None until the metadata event came through `receive_event`, or a relay has set it.
    """

    def __init__(self, socket: WebSocketConnection, *, agent_id: str) -> None:
        self.socket = socket
        self.agent_id = agent_id
        self.conversation_id: str | None = None

    def receive_event(self, timeout: float) -> Mapping[str, Any] | None:
        """The next event; pings are answered on the way. None when ElevenLabs has ended the conversation normally.

        Raises:
            TimeoutError: nothing within `timeout` seconds.
            UpstreamError: an `error` event, a close with a fault, a lost connection, or what is no event.
        """
        try:
            message = self.socket.receive(timeout)
        except ConnectionClosedError as exc:
            if exc.code == CloseCode.NORMAL:
                return None
            raise error_from_exception(exc) from exc
        except SocketError as exc:
            raise error_from_exception(exc) from exc
        event = _read_event(message.data)
        self._note(event)
        return event

    def _note(self, event: Mapping[str, Any]) -> None:
        match event["type"]:
            case ServerEvent.PING:
                self.send_event({"type": ClientEvent.PONG, "event_id": payload(event, "ping_event").get("event_id")})
            case ServerEvent.CONVERSATION_INITIATION_METADATA:
                fields = payload(event, "conversation_initiation_metadata_event")
                self.conversation_id = fields.get("conversation_id")
            case ServerEvent.ERROR:
                error = error_from_event(event)
                if error is not None:
                    raise error

    def send_event(self, event: Mapping[str, Any] | bytes) -> None:
        """Send one event, as it is if given as bytes.

        Raises:
            UpstreamError: the connection is lost, or ElevenLabs does not read.
        """
        try:
            self.socket.send_text(event if isinstance(event, bytes) else orjson.dumps(event))
        except SocketError as exc:
            raise error_from_exception(exc) from exc

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """End the conversation; never raises, may be called again."""
        self.socket.close(code, reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def payload(event: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An event's payload, empty if it has none of that name."""
    fields = event.get(name)
    return fields if isinstance(fields, dict) else {}


def _read_event(data: bytes) -> Mapping[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        event = None  # raised below: the cause would quote the frame
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise UpstreamProtocolError("ElevenLabs sent a frame that is no event.", code="senseless_frame")
    return event


# --- Where the socket is -------------------------------------------------------------------------------------------


def socket_base_url(base_url: str) -> str:
    """`base_url` with the scheme of a WebSocket."""
    scheme, _, rest = base_url.partition("://")
    return f"{_SOCKET_SCHEMES[scheme]}://{rest}"


def read_signed_url(document: bytes, base_url: str) -> str:
    """The signed URL of an answer, if it leads to where we meant to go.

    It must be at `base_url`'s host and port, or, if that is `https:`, anywhere at elevenlabs.io; never less encrypted.

    Raises:
        UpstreamProtocolError: there is none, or it leads elsewhere.
    """
    try:
        url = orjson.loads(document)["signed_url"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        url = None  # raised below: the cause would quote the answer
    if not isinstance(url, str) or not _is_trusted(url, base_url):
        raise UpstreamProtocolError(
            "ElevenLabs' signed URL is missing or leads to a foreign host.", code="foreign_signed_url"
        )
    return url


def _is_trusted(url: str, base_url: str) -> bool:
    # Parsers differ about spaces, control characters, backslashes and what stands before an @: none may be there.
    if not _URL_CHARACTERS.fullmatch(url) or "\\" in url:
        return False
    try:
        ours, theirs = urlsplit(base_url), urlsplit(url)
        place = (theirs.hostname or "", _port(theirs))
        our_place = (ours.hostname or "", _port(ours))
    except ValueError:
        return False
    if theirs.scheme != _SOCKET_SCHEMES[ours.scheme] or "@" in theirs.netloc or theirs.fragment:
        return False
    at_elevenlabs = ours.scheme == "https" and place[0].endswith(ELEVENLABS_DOMAIN) and place[1] == 443
    return place == our_place or at_elevenlabs


def _port(parts: SplitResult) -> int:
    return _DEFAULT_PORTS.get(parts.scheme, 0) if parts.port is None else parts.port
