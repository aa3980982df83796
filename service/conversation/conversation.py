"""One conversation from first to last word: a client's socket, an agent's socket, and what goes between them.

The key decision: a thread (a greenlet in a worker) opens the conversation and says goodbye, and sleeps in between: what
goes back and forth is carried by callbacks of the event loop (`relay.py`). Whichever side ends first gives the
conversation its `Ending`; the other is told, and both are closed when `run` returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from service.conversation.agent_stream import AgentStream
from service.conversation.client_stream import ClientStream
from service.conversation.event_loop import Loop
from service.conversation.events import build_error_event
from service.conversation.recording import Recording
from service.conversation.relay import Relay
from service.errors import (
    CapacityError,
    ConnectionClosedError,
    FrameError,
    LimiterFullError,
    LimiterTimeoutError,
    RequestError,
    ServiceUnavailableError,
    SocketError,
    UpstreamError,
    VoceroError,
    WriteDeadlineError,
)
from service.websocket import WebSocketConnection

log = structlog.get_logger(__name__)
MAX_PING_SECONDS = 20.0
PINGS_BEFORE_IDLE = 3
ACCOUNT_FULL = 3008
"""What ElevenLabs closes with when no slot of the account came free in time."""

NO_ROOM = "No conversation can be taken now; try again."
_LEAVING = frozenset({1000, 1001, 1005})


class AgentLeg(Protocol):
    """The agent's side of a conversation, open and ready to speak (`ElevenLabsService.open_conversation`)."""

    socket: WebSocketConnection


OpenLeg = Callable[[bytes | None], AgentLeg]
"""Opens the agent's side, given the client's `conversation_initiation_client_data` message."""


@dataclass(frozen=True)
class Limits:
    """Bounds of a conversation; the units are those of the settings of the same names."""

    first_frame_seconds: float
    idle_seconds: float
    messages_per_second: int


@dataclass(frozen=True)
class Ending:
    """Why a conversation ended: who ended it, and the code and reason that the client's socket closes with."""

    by: str  # client | agent | service
    code: int
    reason: str


class Conversation:
    """One conversation over `client`; `run` holds it until it has ended."""

    def __init__(
        self, client: WebSocketConnection, *, open_leg: OpenLeg, limits: Limits, loop: Loop, recording: Recording
    ) -> None:
        self._client = client
        self._recording = recording
        self._open_leg = open_leg
        self._limits = limits
        self._loop = loop
        self._ping_seconds = min(MAX_PING_SECONDS, limits.idle_seconds / PINGS_BEFORE_IDLE)
        self._agent_stream = AgentStream(
            lambda data: self._relay_or_fail().send_to_client(data), observe=recording.from_agent
        )
        self._client_stream = ClientStream(
            lambda data: self._relay_or_fail().send_to_agent(data),
            agent_id_of=self._agent_stream.agent_id_of,
            messages_per_second=limits.messages_per_second,
            observe=recording.from_client,
        )
        self._agent: WebSocketConnection | None = None
        self._relay: Relay | None = None
        self._ending: Ending | None = None
        self._lock = threading.Lock()
        client.farewell = self._farewell

    @property
    def conversation_id(self) -> str | None:
        """ElevenLabs' id of it, once the metadata has come."""
        return self._agent_stream.conversation_id

    def run(self) -> Ending:
        """Hold the conversation. Returns how it ended; raises nothing that a peer can cause."""
        try:
            return self._hold()
        finally:
            # Also when this thread is killed: the agent's connection is on loan from a pool.
            if self._agent is not None:
                self._agent.abort()
            ending = self._note(Ending("service", 1006, "ended half-way"))
            self._recording.end(ending.by, ending.code, ending.reason)

    def _hold(self) -> Ending:
        try:
            self._open()
            self._carry()
        except FrameError as exc:
            self._note(_ending_of_client_side(exc))
            self._client.refuse(exc)
        except (VoceroError, TimeoutError) as exc:
            self._note(_ending_of_client_side(exc))
        except Exception:  # the edge of a worker loop: whatever broke, the client is told and the worker lives on
            log.exception("conversation failed", conversation_id=self.conversation_id)
            self._note(Ending("service", 1011, "Internal error."))
        ending = self._note(Ending("client", 1000, ""))
        self._client.close(ending.code, ending.reason)
        if self._agent is not None:
            self._agent.close(1000, "User ended conversation")
        return ending

    def end(self, code: int, reason: str) -> None:
        """End it from outside (drain); may be called from any thread."""
        self._note(Ending("service", code, reason))
        if self._relay is not None:
            self._relay.stop()
        else:
            self._client.close(code, reason)  # which also ends its thread's wait for the first message

    # --- Opening

    def _open(self) -> None:
        kind, first = self._first_message()
        is_initiation = kind == "conversation_initiation_client_data"
        self._agent = self._open_leg(first if is_initiation else None).socket
        if self._ending is not None:  # ended from outside while the leg was being opened
            return
        if not is_initiation:
            self._agent.send_text(first)

    def _first_message(self) -> tuple[str, bytes]:
        deadline = time.monotonic() + self._limits.first_frame_seconds
        while True:
            try:
                message = self._client.receive(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise RequestError(
                    f"No message came in the first {self._limits.first_frame_seconds:g} seconds.",
                    code="missing_required_field",
                ) from None
            kind, first = self._client_stream.read_first(message)
            # On-premises SDKs send this one before the initiation; it is not for ElevenLabs.
            if kind != "enclave_setup_config":
                return kind, first

    # --- Carrying

    def _carry(self) -> None:
        if self._agent is None or self._ending is not None:
            return
        self._relay = relay = Relay(
            self._client,
            self._agent,
            loop=self._loop,
            client_stream=self._client_stream,
            agent_stream=self._agent_stream,
            idle_seconds=self._limits.idle_seconds,
            ping_seconds=self._ping_seconds,
        )
        try:
            relay.run()
        except VoceroError as exc:
            if relay.ended_by_client:
                raise
            self._note(_ending_of_agent_side(exc))
            if isinstance(exc, FrameError):
                self._agent.refuse(exc)

    def _relay_or_fail(self) -> Relay:
        if self._relay is None:
            raise RuntimeError("the conversation is not open")
        return self._relay

    # --- Ending

    def _note(self, ending: Ending) -> Ending:
        """Take `ending` unless there is one already; the one that counts."""
        with self._lock:
            self._ending = self._ending or ending
            return self._ending

    def _farewell(self, code: int, reason: str) -> bytes:
        # ElevenLabs' own error event, already passed on, is the better one.
        return b"" if self._agent_stream.error_seen else build_error_event(code, reason)


def _ending_of_client_side(exc: Exception) -> Ending:
    if isinstance(exc, CapacityError):
        log.warning("no room for a conversation", reason=str(exc))
        of_account = isinstance(exc, LimiterTimeoutError | LimiterFullError)
        return Ending("service", ACCOUNT_FULL if of_account else ServiceUnavailableError.close_code, NO_ROOM)
    if isinstance(exc, RequestError):
        by = "service" if isinstance(exc, ServiceUnavailableError) else "client"
        return Ending(by, exc.close_code, exc.message)
    if isinstance(exc, UpstreamError):
        return _ending_of_agent_side(exc)
    if isinstance(exc, SocketError):
        return Ending("client", 1000 if exc.code in _LEAVING else exc.code, exc.reason)
    return Ending("client", 1006, "nothing came from the client")


def _ending_of_agent_side(exc: Exception) -> Ending:
    if isinstance(exc, ConnectionClosedError):
        if exc.code in {1005, 1006}:
            return Ending("agent", 1011, "The connection to ElevenLabs was lost.")
        return Ending("agent", exc.code, exc.reason)
    if isinstance(exc, WriteDeadlineError):
        return Ending("agent", 1011, "ElevenLabs does not take what it is sent.")
    if isinstance(exc, SocketError):
        return Ending("agent", 1011, f"ElevenLabs broke the protocol: {exc.reason}.")
    if isinstance(exc, UpstreamError):
        return Ending("agent", exc.close_code or 1011, exc.public_message)
    return Ending("agent", 1011, "ElevenLabs has gone silent.")
