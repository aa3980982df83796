"""Who speaks on a speech socket: ElevenLabs over a socket of its own, or the backup's voice.

The key decision: the backup speaks by whole sentences, as soon as it has one, and the rest when it is asked to. When
ElevenLabs would speak depends on its schedule of characters; a sentence is sooner than that, and never cut in two.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qs

import orjson

from service.elevenlabs.faults import error_from_exception
from service.elevenlabs.speech_characters import SpeechOrder, tell_spoken
from service.elevenlabs.speech_sockets import read_speech_error
from service.elevenlabs.vocabulary import (
    DEFAULT_SPEECH_CONTEXT,
    MAX_SPEECH_CONTEXTS,
    CloseCode,
    SpeechRoute,
    SpeechSocketRoute,
)
from service.errors import (
    ConnectionClosedError,
    RequestError,
    SocketError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
)
from service.fallback.local_speech import LocalSpeech
from service.fallback.sentences import split_sentences
from service.metrics_elevenlabs import characters_sent
from service.speech_socket.client_messages import ClientMessage
from service.websocket import WebSocketConnection

LONGEST_UNSPOKEN = 40_000
"""Characters of a text without the end of a sentence: as many as ElevenLabs speaks in one request."""

_SOUND = re.compile(rb'"audio"\s*:\s*"[^"]')


class Speaker(Protocol):
    """Speaks what clients send."""

    def take(self, message: ClientMessage) -> bool:
        """Take a message; True: that was the last, and all is spoken."""

    def close(self) -> None:
        """Speak no more."""


# --- ElevenLabs


class ElevenLabsSpeaker:
    """ElevenLabs behind `socket`; one thread calls `take`, another one `listen`.

    It counts as hanging when it has been asked for sound and nothing comes of it for `patience_seconds`.
    """

    def __init__(self, socket: WebSocketConnection, *, query: str, patience_seconds: float) -> None:
        self._socket = socket
        self._query = query
        self._patience_seconds = patience_seconds
        self._asked = False
        self._characters = 0
        self._last_text = time.monotonic()
        self._received = 0
        self._is_whole = False
        self.answer_seconds: float | None = None
        """How long after the last text the first sound came; None until then."""

    def take(self, message: ClientMessage) -> bool:
        """Send it on. That ElevenLabs is gone, `listen` tells; the end is ElevenLabs' own."""
        self._asked = self._asked or message.wants_sound
        if message.characters:
            self._characters += message.characters
            self._last_text = time.monotonic()
            characters_sent(message.characters)
        with contextlib.suppress(SocketError):
            self._socket.send_text(message.data)
        return False

    def listen(self) -> Iterator[bytes]:
        """What it says, as it comes, to the socket's end.

        Raises:
            UpstreamError: it failed, or went silent, or ended without the sound that it was asked for.
        """
        while True:
            try:
                message = self._socket.receive(self._patience_seconds)
            except TimeoutError:
                if self._asked:
                    raise UpstreamTimeoutError("ElevenLabs has gone silent.", code="silent") from None
                continue
            except ConnectionClosedError as exc:
                if exc.code != CloseCode.NORMAL:
                    raise error_from_exception(exc) from None
                break
            except SocketError as exc:
                raise error_from_exception(exc) from None
            self._note(message.data)
            yield message.data
        if self._asked and self._characters and self.answer_seconds is None:
            raise UpstreamProtocolError("ElevenLabs answered without a sound.", code="no_audio")
        self._is_whole = True

    def _note(self, data: bytes) -> None:
        """Sound is not parsed."""
        if _SOUND.search(data):
            self._received += len(data)
            if self.answer_seconds is None:
                self.answer_seconds = time.monotonic() - self._last_text
        elif (error := read_speech_error(data)) is not None:
            raise error

    def close(self) -> None:
        """End its socket; what was not spoken is counted as lost."""
        self._socket.close(timeout=0)
        if self._characters:
            order = SpeechOrder(self._characters, self._query, SpeechRoute.STREAM_WITH_TIMESTAMPS)
            tell_spoken(order, received=self._received, is_whole=self._is_whole)
            self._characters = 0


# --- The backup


@dataclass
class _Context:
    """A text that is not spoken yet, and how it is to be spoken."""

    settings: Any = None
    unspoken: str = ""


class BackupSpeaker:
    """The backup's voice in the place of the agent's voice `voice_id`; `send` takes each message for the client.

    `query` is ElevenLabs': the format, the model and the language.
    """

    def __init__(self, speech: LocalSpeech, voice_id: str, *, query: str, send: Callable[[bytes], None]) -> None:
        self._speech = speech
        self._voice_id = voice_id
        self._query = query
        self._send = send
        asked = parse_qs(query)
        self._fixed = {name: asked[name][0] for name in ("model_id", "language_code") if name in asked}
        self._contexts: dict[str | None, _Context] = {}

    def take(self, message: ClientMessage) -> bool:
        """Speak what is due by now.

        Raises:
            RequestError: ElevenLabs would refuse it, or ServiceUnavailableError: the voice failed.
            SocketError: the client is gone.
        """
        if message.route is SpeechSocketRoute.STREAM_INPUT:
            context = self._contexts.setdefault(None, _Context())
            self._add(context, message)
            self._speak_due(context, None, wants_all=message.wants_sound)
            if message.ends_socket:
                self._send(_FINAL)
            return message.ends_socket
        return self._take_of_many(message)

    def _take_of_many(self, message: ClientMessage) -> bool:
        name = message.context_id
        if message.ends_socket or message.fields.get("close_context") is True:
            # Text that was not flushed is not spoken any more, as ElevenLabs has it.
            over = list(self._contexts) if message.ends_socket else [name] if name in self._contexts else []
            for each in over:
                del self._contexts[each]
                self._send(orjson.dumps({"isFinal": True, "contextId": each or DEFAULT_SPEECH_CONTEXT}))
            return message.ends_socket
        if name not in self._contexts and len(self._contexts) >= MAX_SPEECH_CONTEXTS:
            raise RequestError(
                f"Maximum simultaneous contexts per WebSocket connection exceeded ({MAX_SPEECH_CONTEXTS}). Please close"
                " an existing context before opening a new one.",
                code="max_active_conversations",
            )
        context = self._contexts.setdefault(name, _Context())
        self._add(context, message)
        self._speak_due(context, name or DEFAULT_SPEECH_CONTEXT, wants_all=message.wants_sound)
        return False

    def close(self) -> None:
        """Forget what is not spoken."""
        self._contexts.clear()

    def _add(self, context: _Context, message: ClientMessage) -> None:
        context.settings = context.settings or message.fields.get("voice_settings")
        context.unspoken += message.text
        if len(context.unspoken) > LONGEST_UNSPOKEN:
            raise RequestError(
                f"More than {LONGEST_UNSPOKEN} characters wait for the end of their sentence.", code="text_too_long"
            )

    def _speak_due(self, context: _Context, name: str | None, *, wants_all: bool) -> None:
        if wants_all:
            due, context.unspoken = context.unspoken, ""
        else:
            *whole, context.unspoken = split_sentences(context.unspoken) or [""]
            due = "".join(whole)
        if due.strip():
            self._speak(due, context.settings, {"contextId": name} if name else {})

    def _speak(self, text: str, settings: Any, more: dict[str, Any]) -> None:
        body = orjson.dumps({"text": text, "voice_settings": settings, **self._fixed})
        for piece in self._speech.speak_pieces(self._voice_id, query=self._query, body=body):
            self._send(orjson.dumps({**piece, "isFinal": None, **more}))


_FINAL = orjson.dumps({"audio": None, "isFinal": True, "alignment": None, "normalizedAlignment": None})
