"""What the client says: checked as far as it must be, and passed on untouched.

The key decision: audio is peeked at and never parsed; everything else is parsed once, to refuse what is no message
at all before it costs the agent's socket (ElevenLabs closes the whole conversation with 1008 on garbage).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from service.conversation.events import (
    OPENING_EVENTS,
    USER_AUDIO_START,
    parse_client_message,
    user_audio_start,
)
from service.elevenlabs.vocabulary import ClientEvent
from service.errors import RequestError, TooManyRequestsError
from service.websocket import TEXT, Message, WebSocketConnection

BURST_SECONDS = 4


def _look_away(_message: Mapping[str, Any]) -> None:
    pass


class ClientStream:
    """One conversation's messages from the client to the agent.

    `send` takes what goes on to the agent; `agent_id_of` gives the agent's own event id for one that the client names,
    None for one that the agent does not know: it is of a leg that is over.
    `observe` is shown every message that is no audio.
    `messages_per_second` bounds the rate, with a burst of four seconds' worth; 0 is no bound.
    """

    __slots__ = (
        "_agent_id_of", "_audio_start", "_counted_at", "_observe", "_rate", "_send", "_tokens",
        "heard_already", "received", "stale_tool_calls",
    )  # fmt: skip

    def __init__(
        self,
        send: Callable[[bytes], None],
        *,
        agent_id_of: Callable[[int], int | None],
        messages_per_second: int,
        observe: Callable[[Mapping[str, Any]], None] = _look_away,
    ) -> None:
        self._send = send
        self._observe = observe
        self._agent_id_of = agent_id_of
        self._rate = messages_per_second
        self._tokens = float(messages_per_second * BURST_SECONDS)
        self._counted_at = time.monotonic()
        # How this client's audio messages begin, once one was seen: SDKs differ in where they put spaces.
        self._audio_start = USER_AUDIO_START
        self.received = 0
        """Messages so far, without audio and the initiation: what a client counts that may come back."""
        self.stale_tool_calls: set[str] = set()
        """Ids of calls whose agent is gone: their results are of use to nobody."""
        self.heard_already: str | None = None
        """What a worker that was killed had heard last: a client whose count is behind says it once more."""

    def passes(self, data: bytes | bytearray, start: int, _end: int) -> bool:
        """Whether the message from `start` on is audio, which passes unread: its first bytes tell.

        That it is whole and base64 is for ElevenLabs to see, as it must.
        """
        return data.startswith(self._audio_start, start)

    def handle(self, message: Message) -> None:
        """Take one message, and send on what `read` makes of it; raises as that."""
        data = self.read(message)
        if data:
            self._send(data)

    def read_first(self, message: Message) -> tuple[str, bytes]:
        """The kind of a conversation's first message, and its bytes.

        Raises:
            RequestError: it is none of those that can open a conversation.
        """
        data = self.read(message)
        if user_audio_start(data):
            return "user_audio_chunk", data
        kind = "user_audio_chunk" if "user_audio_chunk" in (parsed := parse_client_message(data)) else parsed["type"]
        if kind != "user_audio_chunk" and kind not in OPENING_EVENTS:
            raise RequestError(
                "Invalid message received: a conversation begins with conversation_initiation_client_data.",
                code="invalid_message",
            )
        return kind, data

    def read(self, message: Message) -> bytes:
        """The bytes to pass on; empty if it is not for the agent that speaks now.

        Raises:
            RequestError: binary, not JSON, or without a type.
            TooManyRequestsError: more messages than the bound.
        """
        self.count(1)
        if message.opcode != TEXT:
            error = RequestError("Invalid message received: binary messages are not part of the protocol.")
            error.close_code = 1003
            raise error
        if audio_start := user_audio_start(message.data):
            self._audio_start = audio_start
            return message.data
        parsed = parse_client_message(message.data)
        kind = parsed.get("type")
        if kind != ClientEvent.CONVERSATION_INITIATION_CLIENT_DATA:
            self.received += 1
        if kind == ClientEvent.USER_MESSAGE and self.heard_already is not None:
            known, self.heard_already = self.heard_already, None
            if parsed.get("text") == known:
                return b""
        self._observe(parsed)
        if kind == "client_tool_result" and parsed.get("tool_call_id") in self.stale_tool_calls:
            return b""
        return self._with_agents_id(parsed) if kind == "feedback" else message.data

    def _with_agents_id(self, feedback: dict[str, Any]) -> bytes:
        event_id = feedback.get("event_id")
        if isinstance(event_id, int):
            agents_id = self._agent_id_of(event_id)
            if agents_id is None:
                return b""
            feedback["event_id"] = agents_id
        return orjson.dumps(feedback)

    def count(self, messages: int) -> None:
        """Note that so many have come.

        Raises:
            TooManyRequestsError: more messages than the bound.
        """
        if not self._rate:
            return
        now = time.monotonic()
        self._tokens = min(self._rate * BURST_SECONDS, self._tokens + (now - self._counted_at) * self._rate) - messages
        self._counted_at = now
        if self._tokens < 0:
            raise TooManyRequestsError(f"Too many messages: at most {self._rate} a second are taken.", retry_after=1.0)


def read_first_message(client: WebSocketConnection, stream: ClientStream, *, seconds: float) -> tuple[str, bytes]:
    """Wait for what opens a conversation, for so many seconds: its kind, and its bytes.

    Raises:
        RequestError: none came in time, or it opens none.
        SocketError: the client has left.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            message = client.receive(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise RequestError(
                f"No message came in the first {seconds:g} seconds.", code="missing_required_field"
            ) from None
        kind, first = stream.read_first(message)
        # On-premises SDKs send this one before the initiation; it is not for ElevenLabs.
        if kind != "enclave_setup_config":
            return kind, first
