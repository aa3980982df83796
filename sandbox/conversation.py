"""One conversation over one socket: the client's frames to the local agent, the agent's events back.

The key decision: reading is the service's own (`service.fallback.agent_session`); what is the sandbox's is that every
frame that leaves goes through the fault that a rule chose for this conversation, and is put on record.
"""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sandbox.broken_frames import FrameSender
from sandbox.conversation_records import ConversationRecord
from sandbox.faults import Fault
from sandbox.state import SandboxState
from service.fallback.agent_session import AgentSession
from service.fallback.local_agent import LocalAgent
from service.fallback.local_agent_events import INITIATION
from service.fallback.local_agent_profile import AgentProfile
from service.fallback.local_agent_speech import Pace
from service.fallback.local_agent_thinking import Dialogue
from service.fallback.local_voice import SpokenPiece, Voice
from service.fallback.spoken_piece import BYTES_PER_SAMPLE, Alignment
from service.websocket import WebSocketConnection

ROUTE = "agents.conversation"


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
        sender.on_struck = record.note_struck
        self._voice = FaultyVoice(state.voice, fault or Fault(), on_struck=record.note_struck)
        self._agent = LocalAgent(
            profile,
            conversation_id=record.conversation_id,
            dialogue=dialogue,
            voice=self._voice,
            ears=state.ears,
            emit=self._send,
            on_end=self._end,
            pace=pace_of(state.options.latency_scale),
        )

    def run(self) -> None:
        """Hold it until it has ended; never raises for what the client does."""
        session = AgentSession(self._connection, self._agent, on_received=self._note_received, on_end=self._end)
        ended = session.run()
        self._record.note_end(ended.code, ended.reason)

    def _note_received(self, event: Mapping[str, Any]) -> None:
        self._record.note_received(event)
        user = event.get("user_id")
        if event.get("type") != INITIATION or not isinstance(user, str):
            return
        if (fault := self._state.faults.next_of_user(ROUTE, user)) is not None:
            self._sender.arm(fault)
            self._voice.fault = fault

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
    """A voice that is silent, or breaks off, if its `fault` says so: `silence` and `truncate` of a rule.

    It speaks for one conversation, an answer at a call.
    """

    def __init__(self, voice: Voice, fault: Fault, *, on_struck: Callable[[], None]) -> None:
        self._voice = voice
        self._on_struck = on_struck
        self._answers = 0
        self.fault = fault

    @property
    def kind(self) -> str:
        """The kind of the voice behind."""
        return self._voice.kind

    def speak(
        self, text: str, *, language: str = "en", speed: float = 1.0, variant: str | None = None
    ) -> Iterator[SpokenPiece]:
        """Yield the pieces of the voice behind, with the fault in them."""
        self._answers += 1
        pieces = self._voice.speak(text, language=language, speed=speed, variant=variant)
        if self.fault.turn not in (None, self._answers):
            yield from pieces
            return
        if self.fault.silence or self.fault.truncate is not None:
            self._on_struck()
        for piece in pieces if self.fault.truncate is None else _truncated(list(pieces), self.fault.truncate):
            yield replace(piece, pcm=bytes(len(piece.pcm))) if self.fault.silence else piece


def _truncated(pieces: list[SpokenPiece], share: float) -> Iterator[SpokenPiece]:
    left = int(sum(len(piece.pcm) for piece in pieces) * share)
    for piece in pieces:
        kept = min(left, len(piece.pcm)) // 2 * 2
        left -= kept
        if kept:
            yield _cut_off(piece, kept)


def _cut_off(piece: SpokenPiece, size: int) -> SpokenPiece:
    """A piece with so many bytes of its sound, and the characters that are wholly in them."""
    seconds = size / (BYTES_PER_SAMPLE * piece.sample_rate)
    times = piece.alignment
    count = bisect_right(times.ends, seconds)
    cut = Alignment(times.characters[:count], times.starts[:count], times.ends[:count])
    return replace(piece, pcm=piece.pcm[:size], alignment=cut)


def pace_of(latency_scale: float) -> Pace:
    """Return how fast answers are sent; a scale of 0 sends them at once."""
    usual = Pace()
    factor = usual.factor / latency_scale if latency_scale else float("inf")
    return replace(usual, factor=factor, part_seconds=usual.part_seconds * latency_scale)


def end_socket(connection: WebSocketConnection, state: SandboxState, code: int, reason: str) -> None:
    """Close with a code and a reason, and count it."""
    state.stats.closed(code)
    connection.close(code, reason)
