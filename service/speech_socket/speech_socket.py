"""One speech socket of a client's, from its first message to its end: who speaks, and who goes on if that one fails.

The key decisions:

* two threads: the client's messages are taken in one, ElevenLabs' are sent on in the other, each as it comes. Text and
  sound come some times a second here, and what they cost is the synthesis; the relay of conversations, which knows no
  threads, is for fifty frames a second each way;
* as long as nothing was heard, all that the client has said is kept, and the backup says it if ElevenLabs fails. After
  the first sound nobody takes over: two voices in one sentence help nobody (as for the HTTP routes), and clients open
  another socket, on which the backup then speaks from the beginning.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

import orjson
import structlog

from service.conversation.endings import ending_of_client_side
from service.elevenlabs.asking import note_error
from service.elevenlabs.vocabulary import (
    DEFAULT_INACTIVITY_SECONDS,
    MAX_INACTIVITY_SECONDS,
    PROVIDER,
    SpeechSocketRoute,
)
from service.errors import (
    CapacityError,
    RequestError,
    SecretsUnavailableError,
    SocketError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamQuotaError,
)
from service.fallback.backup_speech import BackupSpeech
from service.fallback.fallback_service import LOCAL
from service.logs import with_log_context
from service.metrics_elevenlabs import Operation
from service.speech_socket.client_messages import ClientMessage, read_client_message
from service.speech_socket.speakers import BackupSpeaker, ElevenLabsSpeaker, Speaker
from service.websocket import WebSocketConnection

log = structlog.get_logger(__name__)

MOST_UNHEARD_BYTES = 80_000
"""Of messages that are kept until the first sound: twice the text that ElevenLabs speaks in one request."""


@dataclass(frozen=True)
class SpeechPath:
    """What the client's address says; `query` holds no credential."""

    route: SpeechSocketRoute
    voice_id: str
    query: str

    @property
    def inactivity_seconds(self) -> float:
        """For how long the client may be silent."""
        asked = parse_qs(self.query).get("inactivity_timeout", [""])[0]
        try:
            return min(max(1.0, float(asked)), MAX_INACTIVITY_SECONDS)
        except ValueError:
            return DEFAULT_INACTIVITY_SECONDS


class SpeechSocket:
    """Serves `client`. `open_upstream` opens ElevenLabs' side; `backup` speaks where that fails (None: nobody does).

    `allow(characters)` is asked about each text, and raises a RequestError for one that must not be spoken.
    ElevenLabs counts as hanging `patience_seconds` after it was asked for sound.
    """

    def __init__(
        self,
        client: WebSocketConnection,
        path: SpeechPath,
        *,
        open_upstream: Callable[[], WebSocketConnection],
        backup: BackupSpeech | None,
        allow: Callable[[int], None],
        patience_seconds: float,
    ) -> None:
        self._client = client
        self._path = path
        self._open_upstream = open_upstream
        self._backup = backup
        self._allow = allow
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._speaker: Speaker | None = None
        self._unheard: list[ClientMessage] | None = []
        """All that the client has said; None when it has heard something, or has said too much to say it again."""
        self._unheard_bytes = 0
        self._listens = False
        self._has_said_all = False
        self._is_over = False
        self.provider = PROVIDER
        """Who speaks."""

    def run(self, first: ClientMessage | None) -> None:
        """Serve it to its end; `first` is what was read of it already.

        Raises:
            RequestError: what the client asks for cannot be done; it is still to be told.
            Exception: nobody can speak (UpstreamError, CapacityError); as above.
        """
        try:
            self._begin()
            if first is not None:
                self._take(first)
            while True:
                self._take(read_client_message(self._client.receive(self._client_seconds), self._path.route))
        except TimeoutError:
            raise _inactive(self._path.inactivity_seconds) from None
        except SocketError:  # the client has left, or was told goodbye
            return
        finally:
            self._is_over = True
            if self._speaker is not None:
                self._speaker.close()

    def end(self, code: int, reason: str) -> None:
        """End it; may be called from any thread, never raises."""
        _close(self._client, code, reason, word="service_unavailable")

    @property
    def is_local(self) -> bool:
        """Whether the backup speaks, or has spoken last."""
        return self.provider == LOCAL

    @property
    def _client_seconds(self) -> float | None:
        if not self._listens:
            return self._path.inactivity_seconds
        # ElevenLabs' own time comes first, and it says so in its own words. When the text is over, it has the word, and
        # may not be silent for long.
        return None if self._has_said_all else MAX_INACTIVITY_SECONDS + self._patience_seconds

    # --- Who speaks

    def _begin(self) -> None:
        backup = self._backup
        if backup is not None and backup.goes_first(self._path.voice_id):
            self._speaker = self._speak_locally(backup)
            return
        try:
            upstream = self._open_upstream()
        except (UpstreamError, CapacityError, SecretsUnavailableError) as exc:
            if backup is None or not self._goes_over(backup, exc):
                raise
            self._speaker = self._speak_locally(backup)
            return
        speaker = ElevenLabsSpeaker(upstream, query=self._path.query, patience_seconds=self._patience_seconds)
        self._speaker, self._listens = speaker, True
        listen = with_log_context(self._listen)
        threading.Thread(target=listen, args=(speaker,), name="speech-socket", daemon=True).start()

    def _speak_locally(self, backup: BackupSpeech) -> BackupSpeaker:
        self.provider = LOCAL
        return BackupSpeaker(backup.speech, self._path.voice_id, query=self._path.query, send=self._client.send_text)

    def _goes_over(self, backup: BackupSpeech, error: Exception) -> bool:
        if not (backup.takes_over(error) and backup.speech.can_speak):
            return False
        log.warning("the backup speaks", code=getattr(error, "code", type(error).__name__))
        return True

    # --- From the client

    def _take(self, message: ClientMessage) -> None:
        self._allow(message.characters)
        self._has_said_all = self._has_said_all or message.ends_socket
        with self._lock:
            self._keep(message)
            is_over = self._speaker is not None and self._speaker.take(message)
        if is_over:
            self._client.close()

    def _keep(self, message: ClientMessage) -> None:
        if self._unheard is None or self.provider != PROVIDER:
            return
        self._unheard.append(message)
        self._unheard_bytes += len(message.data)
        if self._unheard_bytes > MOST_UNHEARD_BYTES:
            self._unheard = None

    # --- From ElevenLabs

    def _listen(self, speaker: ElevenLabsSpeaker) -> None:
        try:
            self._send_on(speaker)
        except SocketError:  # the client's, which `run` sees, too
            return
        except Exception:  # the thread's edge: without it the client would wait for what never comes
            log.exception("a speech socket failed")
            self._client.close(1011, "Internal error.")

    def _send_on(self, speaker: ElevenLabsSpeaker) -> None:
        """All that ElevenLabs says; raises SocketError when the client is gone."""
        try:
            for message in speaker.listen():
                if self._unheard is not None and speaker.answer_seconds is not None:
                    self._unheard = None
                    if self._backup is not None:
                        self._backup.primary_spoke(speaker.answer_seconds)
                self._client.send_text(message)
        except UpstreamError as exc:
            if self._is_over:  # and so is ElevenLabs' side
                return
            note_error(Operation.SPEECH_SOCKET, exc)
            self._go_on_without(speaker, exc)
        else:
            self._client.close()

    def _go_on_without(self, failed: ElevenLabsSpeaker, error: UpstreamError) -> None:
        try:
            with self._lock:
                unheard, backup = self._unheard, self._backup
                if unheard is None or backup is None or not self._goes_over(backup, error):
                    raise error
                failed.close()
                self._listens = False
                self._speaker = speaker = self._speak_locally(backup)
                self._unheard = None
                is_over = any(speaker.take(message) for message in unheard)
        except (UpstreamError, RequestError) as exc:
            tell_failure(self._client, exc)
        else:
            if is_over:
                self._client.close()


def tell_failure(client: WebSocketConnection, exc: Exception) -> None:
    """Tell a client in ElevenLabs' shape why its socket ends, and end it; never raises."""
    ending = ending_of_client_side(exc)
    code, word = ending.code, str(getattr(exc, "code", "service_unavailable"))
    # It is our account, and nothing that the client can mend.
    if isinstance(exc, UpstreamKeyError | UpstreamQuotaError):
        code, word = 1011, "upstream_account_unusable"
    _close(client, code, ending.reason, word=word)


def _close(client: WebSocketConnection, code: int, reason: str, *, word: str) -> None:
    client.farewell = lambda code, reason: orjson.dumps({"message": reason, "error": word, "code": code})
    client.close(code, reason)


def _inactive(seconds: float) -> RequestError:
    return RequestError(
        f"Have not received a new text input within the timeout of {seconds:g} seconds. Streaming input terminated."
        " Please make sure to send text, or a single space to keep it open.",
        code="input_timeout_exceeded",
    )
