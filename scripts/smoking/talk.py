"""One conversation, as a browser's page holds it: typed and spoken questions, and whether the answers can be heard.

The key decision: one thread that reads until what it waits for is there, and sends between two reads. Each answer must
have words and a sound that is not silence; a deployment that answers with silence looks well to every status code.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from scripts.smoking.http_checks import Place
from scripts.smoking.question import CHUNK_SECONDS, SpokenQuestion
from scripts.smoking.report import Report, SmokeError, words_of
from service.conversation.audible import Audibility, AudibleCheck
from service.conversation.sound_format import read_sound_format
from service.elevenlabs.live_conversation import payload
from service.elevenlabs.vocabulary import ClientEvent, CloseCode, ServerEvent
from service.errors import ConnectionClosedError, HandshakeError, SocketError
from service.websocket import WebSocketConnection, connect

SUBPROTOCOL = "convai"
CONNECT_SECONDS = 10.0
METADATA_SECONDS = 20.0
ANSWER_SECONDS = 30.0
GREETING_SECONDS = 3.0
QUIET_SECONDS = 1.0
LONGEST_ANSWER_SECONDS = 20.0
GOODBYE_SECONDS = 5.0
CLOSE_SECONDS = 2.0  # behind an error event
TYPED_QUESTION = "What are your opening hours?"

_REMEDIES = {
    CloseCode.CONTRACT: "The way in is not good: is the agent's id right, and listed in VOCERO_PUBLIC_AGENTS?",
    CloseCode.INTERNAL: "See the log of the service; behind a front that is not ours: does it let WebSockets through?",
    CloseCode.ABNORMAL: "Something between us cut the line: a front's time limit, or a node that died.",
    CloseCode.SERVICE_RESTART: "The node is leaving: try again; another one answers then.",
    CloseCode.TRY_AGAIN_LATER: "Every worker is full, leaving or in maintenance: see /readyz on the ops listener; or no"
    " connection to ElevenLabs came in time: the log has `no room for a conversation` with the reason.",
    CloseCode.TOO_MANY_CONVERSATIONS: "The account's slots are taken (VOCERO_AGENTS_CONCURRENCY, your plan).",
}
_SEE_LOG = "See the log of the service at this time."
_NO_ANSWER = "See docs/runbooks.md: the agent's language, its quota, the breakers; can the fallback answer?"


class Talk:
    """A conversation; the steps raise SmokeError."""

    def __init__(self, place: Place, query: str, report: Report, tls: ssl.SSLContext) -> None:
        self._place = place
        self._query = query
        self._report = report
        self._tls = tls
        self._socket: WebSocketConnection | None = None
        self._metadata: dict[str, Any] = {}
        self._heard_at = 0.0
        self._answer = _Answer("pcm_16000")

    def close(self) -> None:
        """End it, however far it came."""
        if self._socket is not None:
            self._socket.close()

    # --- Steps

    def open(self) -> tuple[str, str]:
        """Open the socket and wait for the metadata; the result is the conversation's id."""
        begun = time.monotonic()
        try:
            self._socket = connect(
                self._place.socket_url(self._query),
                headers={"Origin": self._place.origin},
                subprotocols=[SUBPROTOCOL],
                connect_seconds=self._report.left(CONNECT_SECONDS),
                ssl_context=self._tls,
            )
        except HandshakeError as exc:
            remedy = (
                "The front must pass the upgrade on (deploy/nginx); 403: VOCERO_PUBLIC_URL, VOCERO_ALLOWED_ORIGINS."
            )
            raise SmokeError(f"the upgrade was answered with {exc.status}", remedy) from None
        except (OSError, ValueError):
            raise SmokeError(
                "no connection for the socket", "Is a front in between, and does it speak WebSocket?"
            ) from None
        if self._socket.subprotocol != SUBPROTOCOL:
            raise SmokeError("the subprotocol was not echoed", "A front must pass Sec-WebSocket-Protocol on.")
        self._send({"type": ClientEvent.CONVERSATION_INITIATION_CLIENT_DATA})
        self._read_until(lambda: bool(self._metadata), METADATA_SECONDS, "the metadata")
        self._report.figures["metadata"] = round(time.monotonic() - begun, 3)
        conversation_id = words_of(self._metadata.get("conversation_id"))
        return conversation_id, conversation_id

    def hear_greeting(self) -> tuple[None, str]:
        """Let the agent say what it begins with, if it does, to the end."""
        self._new_answer()
        self._read_for(GREETING_SECONDS, lambda: self._answer.is_heard)
        if not self._answer.is_heard:
            return None, "none"
        self._wait_until_quiet()
        return None, self._answer.told()

    def ask_typed(self) -> tuple[None, str]:
        """A typed question, answered in words and sound."""
        self._new_answer()
        begun = time.monotonic()
        self._send({"type": ClientEvent.USER_MESSAGE, "text": TYPED_QUESTION})
        return None, self._hear_answer("typed_first_audio", begun)

    def ask_spoken(self) -> tuple[None, str]:
        """A spoken question at the speed of speech, understood and answered."""
        self._new_answer()
        question = SpokenQuestion(str(self._metadata.get("user_input_audio_format")))
        due = time.monotonic()
        for message in question.messages():
            self._send_text(message)
            due += CHUNK_SECONDS
            self._read_for(max(0.0, due - time.monotonic()), lambda: False)
        said_at = time.monotonic()
        end = said_at + self._report.left(ANSWER_SECONDS)
        while not (self._answer.is_complete and self._answer.transcript) and time.monotonic() < end:
            self._send_text(question.silence())
            self._read_for(CHUNK_SECONDS, lambda: False)
        if not self._answer.transcript:
            raise SmokeError("the spoken question was not understood", "Has the agent ears (sandbox: extra `local`)?")
        return None, self._hear_answer("spoken_first_audio", said_at)

    def say_goodbye(self) -> tuple[None, str]:
        """Hang up; the other side must say goodbye too."""
        socket = self._opened()
        socket.close(CloseCode.NORMAL, timeout=self._report.left(GOODBYE_SECONDS))
        ended = socket.peer_close
        if ended is None or ended.code != CloseCode.NORMAL:
            code = "nothing" if ended is None else str(ended.code)
            raise SmokeError(f"our goodbye was answered with {code}", _SEE_LOG)
        return None, ""

    # --- Answers

    def _new_answer(self) -> None:
        self._answer = _Answer(str(self._metadata.get("agent_output_audio_format")))

    def _hear_answer(self, figure: str, begun: float) -> str:
        def is_over() -> bool:
            return self._answer.is_complete or self._answer.audibility is Audibility.SILENT

        try:
            self._read_until(is_over, ANSWER_SECONDS, "the answer")
        except _LateError:
            lacks = "words" if not self._answer.has_words else "sound"
            raise SmokeError(f"the answer has no {lacks}", _NO_ANSWER) from None
        if self._answer.audibility is Audibility.SILENT:
            raise SmokeError("the answer is silence", _NO_ANSWER)
        self._report.figures[figure] = round(max(0.0, self._answer.first_audio_at - begun), 3)
        self._wait_until_quiet()
        return f"first sound after {self._report.figures[figure]:.3f} s, {self._answer.told()}"

    def _wait_until_quiet(self) -> None:
        """Until nothing has come for a moment, so that the next answer is not mistaken for this one."""
        end = time.monotonic() + LONGEST_ANSWER_SECONDS
        while (left := self._heard_at + QUIET_SECONDS - time.monotonic()) > 0 and time.monotonic() < end:
            self._read_for(left, lambda: False)

    # --- The wire

    def _opened(self) -> WebSocketConnection:
        if self._socket is None:
            raise SmokeError("there is no socket", _SEE_LOG)
        return self._socket

    def _send(self, event: dict[str, Any]) -> None:
        self._send_text(orjson.dumps(event).decode())

    def _send_text(self, text: str) -> None:
        try:
            self._opened().send_text(text)
        except SocketError as exc:
            raise _closed(exc) from None

    def _read_until(self, condition: Callable[[], bool], limit: float, what: str) -> None:
        seconds = self._report.left(limit)
        self._read_for(seconds, condition)
        if not condition():
            raise _LateError(f"{what} did not come within {seconds:.0f} s", _NO_ANSWER)

    def _read_for(self, seconds: float, condition: Callable[[], bool]) -> None:
        """Take what comes until `condition` is true or the time is over."""
        end = min(time.monotonic() + seconds, self._report.ends_at)
        while not condition() and (left := end - time.monotonic()) > 0:
            try:
                self._take(self._opened().receive(left).data)
            except TimeoutError:
                return
            except SocketError as exc:
                raise _closed(exc) from None

    def _take(self, data: bytes) -> None:
        try:
            event = orjson.loads(data)
            kind = event["type"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise SmokeError("something came that is no event", "Does a front change what passes?") from None
        if kind == ServerEvent.CONVERSATION_INITIATION_METADATA:
            self._metadata = dict(payload(event, "conversation_initiation_metadata_event"))
        elif kind == ServerEvent.PING:
            self._send({"type": ClientEvent.PONG, "event_id": payload(event, "ping_event").get("event_id")})
        elif kind == ServerEvent.ERROR:
            raise self._explained(payload(event, "error_event"))
        elif self._answer.take(kind, event, data):
            self._heard_at = time.monotonic()

    def _explained(self, said: Mapping[str, Any]) -> SmokeError:
        """What an error event says; the close behind it knows more codes than ElevenLabs' events do."""
        words, code = words_of(said.get("message")), said.get("code")
        try:
            self._opened().receive(self._report.left(CLOSE_SECONDS))
        except ConnectionClosedError as exc:
            code = exc.code
        except (SocketError, TimeoutError):
            pass  # then the event has to do
        return SmokeError(f"an error event ({code}): {words.rstrip('.')}", _remedy(code))


class _Answer:
    """What was heard since a question."""

    def __init__(self, format_name: str) -> None:
        self._format = read_sound_format(format_name)
        self._check = AudibleCheck(self._format)
        self._letters = 0
        self.transcript = ""
        self.has_words = False
        self.first_audio_at = 0.0

    @property
    def audibility(self) -> Audibility:
        return self._check.verdict

    @property
    def is_complete(self) -> bool:
        return self.has_words and self.audibility is Audibility.AUDIBLE

    @property
    def is_heard(self) -> bool:
        return self.has_words or self._letters > 0

    def take(self, kind: str, event: dict[str, Any], data: bytes) -> bool:
        """Note an event; True if it belongs to an answer."""
        if kind == ServerEvent.AUDIO:
            self.first_audio_at = self.first_audio_at or time.monotonic()
            self._letters += len(payload(event, "audio_event").get("audio_base_64", ""))
            self._check.listen(data, 0, len(data))
        elif kind == ServerEvent.AGENT_RESPONSE:
            said = payload(event, "agent_response_event").get("agent_response", "")
            self.has_words = self.has_words or bool(str(said).strip())
        elif kind == ServerEvent.USER_TRANSCRIPT:
            heard = payload(event, "user_transcription_event").get("user_transcript", "")
            self.transcript = self.transcript or str(heard).strip()
        else:
            return False
        return True

    def told(self) -> str:
        return f"{self._letters * 3 / 4 / self._format.bytes_per_second:.1f} s of sound"


class _LateError(SmokeError):
    """What was waited for did not come."""


def _remedy(code: object) -> str:
    return next((remedy for known, remedy in _REMEDIES.items() if known == code), _SEE_LOG)


def _closed(exc: SocketError) -> SmokeError:
    if isinstance(exc, ConnectionClosedError):
        said = f": {words_of(exc.reason)}" if exc.reason else ""
        return SmokeError(f"the conversation was closed with {exc.code}{said}", _remedy(exc.code))
    return SmokeError("the socket can be used no more", _SEE_LOG)
