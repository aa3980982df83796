"""A local agent at the end of a socket: the client's frames in as events, until either side ends it.

The key decision: the agent knows the protocol and this knows the wire. What is no JSON object never reaches the agent,
and the agent's own end comes back here as a socket that is closed, so there is one way out of the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.errors import RequestError, SocketError
from service.event_json import read_event
from service.fallback.local_agent import LocalAgent
from service.websocket import TEXT, WebSocketConnection

RECEIVE_SECONDS = 60.0


def _look_away(_event: Mapping[str, Any]) -> None:
    pass


class AgentSession:
    """Reads what comes over `connection` for `agent`, whose own events do not pass here.

    `on_received` is shown each event before the agent gets it. `on_end(code, reason)` ends the socket when the agent is
    stuck.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        agent: LocalAgent,
        *,
        on_end: Callable[[int, str], None],
        on_received: Callable[[Mapping[str, Any]], None] = _look_away,
    ) -> None:
        self._connection = connection
        self._agent = agent
        self._on_end = on_end
        self._on_received = on_received

    def run(self) -> SocketError:
        """Start the agent and read until the conversation has ended; how it did. Nothing of the agent runs then."""
        self._agent.start()
        try:
            while True:
                self._read_one()
        except SocketError as exc:
            return exc
        finally:
            self._agent.close()

    def _read_one(self) -> None:
        try:
            message = self._connection.receive(RECEIVE_SECONDS)
        except TimeoutError:
            return  # how long a silence may last is the agent's business
        event = read_event(message.data) if message.opcode == TEXT else None
        try:
            if event is None:
                self._agent.refuse(RequestError("Invalid message received", code="invalid_message"))
                return
            self._on_received(event)
            self._agent.receive(event)
        except TimeoutError:
            self._on_end(1011, "Internal server error")
