"""What both kinds of speech socket share: the checked query, the key, reading, and the shape of an audio frame."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from sandbox.auth import check_key
from sandbox.broken_frames import FrameSender
from sandbox.errors import ApiError, SchemaError
from sandbox.faults import Fault
from sandbox.speech_request import check_output_format, check_plan, require_model, require_voice
from sandbox.state import SandboxState
from sandbox.stream_messages import StreamError, StreamQuery, as_stream_error, read_query
from sandbox.synthesis import Order
from service.fallback.timed_audio import Chunk, alignment_in_chunk
from service.websocket import TEXT, WebSocketConnection


@dataclass(frozen=True)
class SpeechSession:
    """One open speech socket. `key` is the one of its header or query; without one the first message brings it."""

    state: SandboxState
    route: str
    connection: WebSocketConnection
    sender: FrameSender
    fault: Fault | None
    query: StreamQuery
    order: Order
    key: str | None

    def receive(self, timeout: float) -> bytes:
        """Give the next message's bytes.

        Raises:
            TimeoutError: none came within `timeout` seconds.
            StreamError: it is a binary message.
            SocketError: the client is gone or broke the protocol.
        """
        message = self.connection.receive(timeout)
        if message.opcode != TEXT:
            raise StreamError("invalid_message", "Messages must be JSON text frames.")
        return message.data

    def check_key(self, from_message: str | None) -> None:
        """Let a good key pass; raises StreamError."""
        try:
            check_key(self.state, self.key or from_message)
        except ApiError as exc:
            raise as_stream_error(exc) from None

    def timed_out(self) -> StreamError:
        """Give the error of a client that sent nothing for too long."""
        return StreamError(
            "input_timeout_exceeded",
            f"Have not received a new text input within the timeout of {self.query.inactivity_timeout:g} seconds. "
            "Streaming input terminated. Please make sure to send text, or a single space to keep it open.",
        )

    def finish(self) -> None:
        """Close in good order; may be called by any thread."""
        self.state.stats.closed(1000)
        self.connection.close(1000)

    def fail(self, error: StreamError) -> None:
        """Send the error frame and close; may be called by any thread.

        Raises:
            SocketError: the client is gone already.
        """
        self.sender.send(error.frame())
        self.state.stats.closed(error.code)
        self.connection.close(error.code, close_reason(error.message))

    def send_chunk(self, chunk: Chunk, **more: Any) -> None:
        """Send one chunk of sound; `more` goes into its frame."""
        times = alignment_in_chunk(chunk)
        audio = base64.b64encode(chunk.audio).decode()
        event = {"audio": audio, "isFinal": None, "alignment": times, "normalizedAlignment": times, **more}
        self.sender.send(event, audio_bytes=len(chunk.audio))


def read_order(state: SandboxState, voice_id: str, arguments: dict[str, str]) -> tuple[StreamQuery, Order]:
    """Check the path and the query of a speech socket; give them with what they order (no text yet).

    Raises:
        StreamError: something in them is wrong.
    """
    query = read_query(arguments)
    try:
        check_output_format(query.output_format, streaming=True)
        check_plan(query.output_format, state.plan)
        voice = require_voice(voice_id)
        model = require_model(query.model_id)
    except (ApiError, SchemaError) as exc:
        raise as_stream_error(exc) from None
    language = query.language_code if query.language_code in model.languages else None
    return query, Order("", voice, model, query.output_format, language)


def close_reason(reason: str) -> str:
    """Give a close reason of the 123 bytes that RFC 6455 (5.5) allows."""
    return reason.encode()[:123].decode(errors="ignore")
