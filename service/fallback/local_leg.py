"""A local agent behind a socket: the leg of a conversation that no cloud speaks.

The key decision: the agent is at one end of a pair of sockets, and the other end is a WebSocket like ElevenLabs'. So
the relay, its flow control and its ends are the same whoever speaks, and nothing above knows which provider it has.
"""

from __future__ import annotations

import contextlib
import socket
import threading

import structlog

from service.errors import ServiceUnavailableError, SocketError
from service.event_json import write_event
from service.fallback.agent_session import AgentSession
from service.fallback.backup_parts import BackupParts
from service.fallback.backup_profile import BackupProfiles
from service.fallback.local_agent import LocalAgent
from service.fallback.local_agent_profile import BYTES_PER_SECOND
from service.fallback.local_agent_speech import Pace
from service.fallback.takeover import Takeover
from service.fallback.talk_history import PastTurn
from service.logs import with_log_context
from service.websocket import WebSocketConnection

__all__ = ["LocalLeg", "LocalLegs", "PastTurn", "Takeover"]

log = structlog.get_logger(__name__)

WRITE_DEADLINE_SECONDS = 10.0
"""That the relay may read nothing: it stops when the client is slow, and ends the conversation itself in 5 s."""

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


class LocalLeg:
    """A leg that is open: `socket` is for the relay, as an ElevenLabs leg's. Whichever end closes, both are over."""

    def __init__(self, takeover: Takeover, agent_socket: WebSocketConnection, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.agent_id = takeover.agent_id
        self.conversation_id: str | None = takeover.conversation_id
        self._agent_socket = agent_socket
        self._thread: threading.Thread | None = None

    def run(self, session: AgentSession) -> None:
        """Carry between the agent and its socket in a thread of the leg's own. Called once, by `LocalLegs`."""
        self._thread = threading.Thread(
            target=with_log_context(self._carry), args=(session,), name="local-leg", daemon=True
        )
        self._thread.start()

    def close(self, code: int = 1000, reason: str = "") -> None:
        """End it; never raises, may be called again."""
        self.socket.close(code, reason)

    def join(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until nothing of it runs any more; for tests."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _carry(self, session: AgentSession) -> None:
        try:
            session.run()
        except SocketError:
            pass  # how the relay's side ended is its own affair
        except Exception:  # the edge of a thread: the relay must see an end, whatever it was
            log.exception("the local leg failed", conversation_id=self.conversation_id)
            self._agent_socket.close(1011, "Internal server error")
        finally:
            self._agent_socket.abort()


class LocalLegs:
    """Opens local legs; one for a process. `pace` is how fast answers are sent (unset: as ElevenLabs does)."""

    def __init__(self, parts: BackupParts, *, profiles: BackupProfiles, pace: Pace | None = None) -> None:
        self._parts = parts
        self._profiles = profiles
        self._pace = pace

    def start(self) -> None:
        """Open the voice and the dialogue (some 0.3 s); the ears open with the first leg that needs them.

        Raises:
            ConfigurationError: a file or an installation is broken.
        """
        self._parts.start()

    def close(self) -> None:
        """End the ears' process; legs that are open end with their owners."""
        self._parts.close()

    @property
    def can_speak(self) -> bool:
        """Whether the backup has a real voice. Without one only text-only conversations can be taken over."""
        return self._parts.can_speak

    def can_serve(self, takeover: Takeover) -> bool:
        """Whether `open` would take this one."""
        return takeover.text_only or (
            self.can_speak and takeover.output_format in BYTES_PER_SECOND and takeover.input_format in BYTES_PER_SECOND
        )

    def open(self, takeover: Takeover) -> LocalLeg:
        """Open a leg; the agent speaks at once, if `takeover` has something to say.

        Raises:
            ServiceUnavailableError: it cannot be served here (see `can_serve`), or the process has no socket left.
        """
        if not self.can_serve(takeover):
            raise ServiceUnavailableError("The backup agent cannot speak.", retry_after=5.0, code="no_backup_voice")
        agent_socket, relay_socket = _socket_pair()
        try:
            return self._open(takeover, agent_socket, relay_socket)
        except BaseException:  # whatever it is, nobody else would close them
            agent_socket.abort()
            relay_socket.abort()
            raise

    def _open(
        self, takeover: Takeover, agent_socket: WebSocketConnection, relay_socket: WebSocketConnection
    ) -> LocalLeg:
        profile, initiation = self._profiles.of(takeover)
        agent = LocalAgent(
            profile,
            conversation_id=takeover.conversation_id,
            dialogue=self._parts.dialogue,
            voice=self._parts.voice,
            ears=None if profile.text_only else self._parts.listening_ears(),
            emit=lambda event: agent_socket.send_text(write_event(event)),
            on_end=agent_socket.close,
            pace=self._pace,
            history=takeover.history,
            first_event_id=takeover.first_event_id,
            opening=initiation,
        )
        leg = LocalLeg(takeover, agent_socket, relay_socket)
        leg.run(AgentSession(agent_socket, agent, on_end=agent_socket.close))
        return leg


def _socket_pair() -> tuple[WebSocketConnection, WebSocketConnection]:
    try:
        ours, theirs = socket.socketpair()
    except OSError as exc:
        raise ServiceUnavailableError("No socket is left for the backup agent.", retry_after=5.0) from exc
    with contextlib.suppress(OSError):
        for end in (ours, theirs):
            end.setblocking(True)
    return (
        WebSocketConnection(
            ours, is_client=False, write_deadline_seconds=WRITE_DEADLINE_SECONDS, max_message_bytes=MAX_MESSAGE_BYTES
        ),
        WebSocketConnection(
            theirs, is_client=True, write_deadline_seconds=WRITE_DEADLINE_SECONDS, max_message_bytes=MAX_MESSAGE_BYTES
        ),
    )
