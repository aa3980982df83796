"""ElevenLabs' speech sockets: text goes up bit by bit, sound comes down (`stream-input`, `multi-stream-input`).

The key decision: a socket is opened anew for each client and kept in no pool, because ElevenLabs ends one that is
silent; its place in the account's bound is held for as long as it is open, which is more than ElevenLabs itself counts
(it counts while something is spoken), and so never too little.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import orjson

from service.elevenlabs.account_slots import AccountSlots
from service.elevenlabs.asking import asked
from service.elevenlabs.faults import Phase, error_from_close, error_from_exception
from service.elevenlabs.keys import KeyChoice
from service.elevenlabs.live_conversation import socket_base_url
from service.elevenlabs.speech import quoted_voice
from service.elevenlabs.vocabulary import CloseCode, SpeechSocketRoute
from service.errors import HandshakeError, UpstreamError, UpstreamProtocolError, UpstreamRequestError
from service.metrics_elevenlabs import Operation
from service.retry import Retrier
from service.secret import Secret
from service.websocket import WebSocketConnection, connect


class SpeechSockets:
    """Opens them at `base_url`; connecting, with TLS and the upgrade, takes at most `connect_seconds`."""

    def __init__(
        self,
        base_url: str,
        *,
        keys: KeyChoice,
        slots: AccountSlots,
        retrier: Retrier,
        connect_seconds: float,
        write_deadline_seconds: float,
    ) -> None:
        self._base_url = socket_base_url(base_url)
        self._keys = keys
        self._slots = slots
        self.retrier = retrier
        self._connect_seconds = connect_seconds
        self._write_deadline_seconds = write_deadline_seconds
        self._tls_context: ssl.SSLContext | None = None

    def start(self, tls_context: ssl.SSLContext | None) -> None:
        """`tls_context` is needed for an `https:` base URL."""
        self._tls_context = tls_context

    @asked(Operation.SPEECH_SOCKET, repeatable=True)
    def open(self, route: SpeechSocketRoute, voice_id: str, *, query: str) -> WebSocketConnection:
        """A socket at ElevenLabs; `query` goes up as it is, and holds no credential.

        Raises:
            NotFoundError: no voice can have that id.
            CapacityError: no slot of the account came free in time; nothing was asked of ElevenLabs.
            UpstreamError: ElevenLabs did not open it.
        """
        url = f"{self._base_url}/v1/text-to-speech/{quoted_voice(voice_id)}{route.value}"
        with self._slots.speech() as release:
            socket = self._keys.send(lambda key: self._connect(f"{url}?{query}" if query else url, key))
        socket.on_end = release
        return socket

    def _connect(self, url: str, key: Secret) -> WebSocketConnection:
        try:
            return connect(
                url,
                headers={"xi-api-key": key.reveal()},
                connect_seconds=self._connect_seconds,
                ssl_context=self._tls_context,
                write_deadline_seconds=self._write_deadline_seconds,
            )
        except (HandshakeError, OSError) as exc:
            error = error_from_exception(exc, Phase.CONNECT)
        raise error


def read_speech_error(message: bytes) -> UpstreamError | None:
    """The error that a message without sound stands for; None: it is none.

    It has the form `{"message", "error", "code"}`, and a close with that code follows.
    """
    try:
        fields = orjson.loads(message)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, Mapping):
        return UpstreamProtocolError("ElevenLabs sent what is no message.", code="senseless_frame")
    if not isinstance(fields.get("error"), str):
        return None
    word, said, code = fields["error"], fields.get("message"), fields.get("code")
    said = said if isinstance(said, str) else ""
    error = error_from_close(code if isinstance(code, int) else CloseCode.CONTRACT, f"{word} {said}".strip())
    if isinstance(error, UpstreamRequestError):  # the client's own doing: it is told so in ElevenLabs' words
        error.message, error.code = said or error.message, word[:64]
    return error
