"""One conversation over one socket: the client's frames to the local agent, the agent's events back.

The key decision: the agent knows the protocol and this knows the wire. What is no JSON object never reaches the
agent; every frame that leaves goes through the fault that a rule chose for this conversation.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sandbox.broken_frames import FrameSender
from sandbox.conversation_records import ConversationRecord
from sandbox.faults import Fault
from sandbox.state import SandboxState
from service.errors import RequestError, SocketError
from service.fallback.local_agent import LocalAgent
from service.fallback.local_agent_profile import AgentProfile
from service.fallback.local_agent_speech import Pace
from service.fallback.local_agent_thinking import Dialogue
from service.fallback.local_voice import SpokenPiece, Voice
from service.websocket import TEXT, WebSocketConnection

RECEIVE_SECONDS = 60.0


class SandboxConversation:
    """Serves one admitted client until either side ends it."""

    def __init__(
        self,
        connection: WebSocketConnection,
        profile: AgentProfile,
        *,
        state: SandboxState,
        dialogue: Dialogue,
        sender: FrameSender,
        fault: Fault | None,
        record: ConversationRecord,
    ) -> None:
        self._connection = connection
        self._state = state
        self._sender = sender
        self._record = record
        voice: Voice = state.voice
        if fault is not None and (fault.silence or fault.truncate is not None):
            voice = FaultyVoice(voice, fault)
        self._agent = LocalAgent(
            profile,
            conversation_id=record.conversation_id,
            dialogue=dialogue,
            voice=voice,
            ears=state.ears,
            emit=self._send,
            on_end=self._end,
            pace=pace_of(state.options.latency_scale),
        )

    def run(self) -> None:
        """Read until the conversation has ended; never raises for what the client does."""
        self._agent.start()
        try:
            while True:
                self._read_one()
        except SocketError as exc:
            self._record.note_end(exc.code, exc.reason)
        finally:
            self._agent.close()

    def _read_one(self) -> None:
        try:
            message = self._connection.receive(RECEIVE_SECONDS)
        except TimeoutError:
            return  # how long a silence may last is the agent's business
        event = read_event(message.data) if message.opcode == TEXT else None
        try:
            if event is None:
                self._agent.refuse(RequestError("Invalid message received", code="invalid_message"))
                return
            self._record.note_received(event)
            self._agent.receive(event)
        except TimeoutError:
            self._end(1011, "Internal server error")

    def _send(self, event: Mapping[str, Any]) -> None:
        self._record.note_sent(event)
        audio_bytes = 0
        if event["type"] == "audio":
            audio_bytes = len(base64.b64decode(event["audio_event"]["audio_base_64"]))
        self._sender.send(event, audio_bytes=audio_bytes)

    def _end(self, code: int, reason: str) -> None:
        self._record.note_end(code, reason)
        end_socket(self._connection, self._state, code, reason)


class FaultyVoice:
    """A voice that is silent, or breaks off: `silence` and `truncate` of a fault rule."""

    def __init__(self, voice: Voice, fault: Fault) -> None:
        self._voice = voice
        self._fault = fault

    @property
    def kind(self) -> str:
        """The kind of the voice behind."""
        return self._voice.kind

    def speak(
        self, text: str, *, language: str = "en", speed: float = 1.0, variant: str | None = None
    ) -> Iterator[SpokenPiece]:
        """Yield the pieces of the voice behind, with the fault in them."""
        pieces = self._voice.speak(text, language=language, speed=speed, variant=variant)
        for piece in pieces if self._fault.truncate is None else _truncated(list(pieces), self._fault.truncate):
            yield replace(piece, pcm=bytes(len(piece.pcm))) if self._fault.silence else piece


def _truncated(pieces: list[SpokenPiece], share: float) -> Iterator[SpokenPiece]:
    left = int(sum(len(piece.pcm) for piece in pieces) * share)
    for piece in pieces:
        kept = min(left, len(piece.pcm)) // 2 * 2
        left -= kept
        if kept:
            yield replace(piece, pcm=piece.pcm[:kept])


def pace_of(latency_scale: float) -> Pace:
    """Return how fast answers are sent; a scale of 0 sends them at once."""
    usual = Pace()
    factor = usual.factor / latency_scale if latency_scale else float("inf")
    return replace(usual, factor=factor, part_seconds=usual.part_seconds * latency_scale)


def read_event(data: bytes) -> dict[str, Any] | None:
    """Return a frame's JSON object, or None if it is none."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def end_socket(connection: WebSocketConnection, state: SandboxState, code: int, reason: str) -> None:
    """Close with a code and a reason, and count it."""
    state.stats.closed(code)
    connection.close(code, reason)
