"""The socket `stream-input`: text comes in bit by bit, sound goes out, one context.

The key decision: reading and speaking run side by side (`SpeechContext`); after the end of the text the reader only
waits for the close, which the speaker does when the last sound is out.
"""

from __future__ import annotations

from dataclasses import replace

from sandbox.speech_context import SpeechContext
from sandbox.speech_session import SpeechSession
from sandbox.stream_messages import FixedSettings, SingleMessage, StreamError, read_message
from sandbox.text_buffer import TextBuffer

# 40,000 characters are 45 minutes of sound, which are out in 11 at four times real time.
DRAIN_SECONDS = 900.0


def serve(session: SpeechSession) -> None:
    """Serve one socket to its end.

    Raises:
        StreamError: the client did something wrong; nothing was closed yet.
        SocketError: the connection is over.
    """
    first = _receive(session)
    if first.text != " ":
        raise StreamError("invalid_message", 'The first message must have the text " ".')
    session.check_key(first.key())
    settings = FixedSettings(first)
    context = _context(session, settings)
    context.start()
    try:
        _read_text(session, settings, context)
        while True:  # until the speaker has closed the connection, or the client has
            session.connection.receive(DRAIN_SECONDS)
    finally:
        context.cancel()


def _read_text(session: SpeechSession, settings: FixedSettings, context: SpeechContext) -> None:
    buffer = TextBuffer(settings.schedule, auto=session.query.auto_mode)
    while (message := _receive(session)).text != "":
        settings.check(message)
        buffer.add(message.text)
        context.say(buffer.drain() if message.flush else buffer.due(trigger=message.try_trigger_generation))
    context.say(buffer.drain())
    context.finish()


def _receive(session: SpeechSession) -> SingleMessage:
    try:
        return read_message(SingleMessage, session.receive(session.query.inactivity_timeout))
    except TimeoutError:
        raise session.timed_out() from None


def _context(session: SpeechSession, settings: FixedSettings) -> SpeechContext:
    def end() -> None:
        session.sender.send({"audio": None, "isFinal": True, "alignment": None, "normalizedAlignment": None})
        session.finish()

    return SpeechContext(
        session.state,
        replace(session.order, speed=settings.speed),
        route=session.route,
        fault=session.fault,
        on_chunk=session.send_chunk,
        on_end=end,
        on_failure=session.fail,
    )
