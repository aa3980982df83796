"""The socket `multi-stream-input`: up to five contexts at once over one connection.

The key decision: a context counts until its `isFinal` is out, also when it is only finishing what was flushed; that is
what fills the five places in practice (pipecat#4114, livekit/agents#5844).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from sandbox.speech_context import SpeechContext
from sandbox.speech_session import SpeechSession
from sandbox.stream_input import DRAIN_SECONDS
from sandbox.stream_messages import FixedSettings, MultiMessage, StreamError, read_message
from sandbox.text_buffer import TextBuffer
from service.elevenlabs.vocabulary import DEFAULT_SPEECH_CONTEXT, MAX_SPEECH_CONTEXTS


@dataclass
class _Open:
    """A context that takes text; `deadline` is when it is closed if no message for it comes."""

    settings: FixedSettings
    buffer: TextBuffer
    context: SpeechContext
    deadline: float


def serve(session: SpeechSession) -> None:
    """Serve one socket to its end; raises as `stream_input.serve`."""
    contexts = _Contexts(session)
    try:
        while True:
            message = _receive(session, contexts)
            if message is None:
                continue
            if message.close_socket:
                break
            contexts.take(message)
        contexts.leave()
        while True:  # until the last context has closed the connection, or the client has
            session.connection.receive(DRAIN_SECONDS)
    finally:
        contexts.cancel()


def _receive(session: SpeechSession, contexts: _Contexts) -> MultiMessage | None:
    """Give the next message, or None when only a context's time was up."""
    try:
        return read_message(MultiMessage, session.receive(contexts.seconds_left()))
    except TimeoutError:
        if not contexts.close_overdue():
            raise session.timed_out() from None
        return None


class _Contexts:
    """The contexts of one socket: those that take text, by id, and those that only finish speaking."""

    def __init__(self, session: SpeechSession) -> None:
        self._session = session
        self._open: dict[str, _Open] = {}
        self._lock = threading.Lock()
        self._speaking = 0
        self._leaving = False
        self._idle_since = time.monotonic()

    def seconds_left(self) -> float:
        """Give how long to wait for the next message until somebody's time is up."""
        now = time.monotonic()
        # A socket on which something is still being spoken is not idle.
        last = now if self._speaking > len(self._open) else self._idle_since
        deadlines = [each.deadline for each in self._open.values()]
        return max(0.0, min(deadlines, default=last + self._session.query.inactivity_timeout) - now)

    def close_overdue(self) -> bool:
        """Close the contexts whose time is up; False if there was none to close and none is being spoken."""
        now = time.monotonic()
        overdue = [name for name, each in self._open.items() if each.deadline <= now]
        for name in overdue:
            self._close(name)
            self._idle_since = now
        return bool(overdue) or self._speaking > 0

    def take(self, message: MultiMessage) -> None:
        """Act on one message for a context; raises StreamError."""
        name = DEFAULT_SPEECH_CONTEXT if message.context_id is None else message.context_id
        self._idle_since = time.monotonic()
        if message.close_context:
            self._close(name)
            return
        known = self._open.get(name)
        if known is None:
            known = self._open[name] = self._new(name, message)
        else:
            known.settings.check(message)
        known.deadline = time.monotonic() + self._session.query.inactivity_timeout
        known.buffer.add(message.text or "")
        trigger = message.try_trigger_generation
        known.context.say(known.buffer.drain() if message.flush else known.buffer.due(trigger=trigger))

    def leave(self) -> None:
        """Take no more text, let what was flushed be spoken, then close the connection."""
        for name in list(self._open):
            self._close(name)
        with self._lock:
            self._leaving = True
            finished = self._speaking == 0
        if finished:
            self._session.finish()

    def cancel(self) -> None:
        """Stop all contexts."""
        for each in self._open.values():
            each.context.cancel()

    def _close(self, name: str) -> None:
        """End a context: text that was not flushed is dropped, as ElevenLabs' CloseContext says."""
        if (known := self._open.pop(name, None)) is not None:
            known.context.finish()

    def _new(self, name: str, first: MultiMessage) -> _Open:
        session = self._session
        session.check_key(first.key())
        if self._speaking >= MAX_SPEECH_CONTEXTS:
            raise StreamError(
                "max_active_conversations",
                f"Maximum simultaneous contexts per WebSocket connection exceeded ({MAX_SPEECH_CONTEXTS}). "
                "Please close an existing context before opening a new one.",
            )
        settings = FixedSettings(first)
        context = SpeechContext(
            session.state,
            replace(session.order, speed=settings.speed),
            route=session.route,
            fault=session.fault,
            on_chunk=lambda chunk: session.send_chunk(chunk, contextId=name),
            on_end=lambda: self._finished(name),
            on_failure=session.fail,
        )
        with self._lock:
            self._speaking += 1
        context.start()
        deadline = time.monotonic() + session.query.inactivity_timeout
        return _Open(settings, TextBuffer(settings.schedule, auto=session.query.auto_mode), context, deadline)

    def _finished(self, name: str) -> None:
        """Tell that a context is over; only then its place is free."""
        self._session.sender.send({"isFinal": True, "contextId": name})
        with self._lock:
            self._speaking -= 1
            last = self._leaving and self._speaking == 0
        if last:
            self._session.finish()
