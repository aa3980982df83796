"""A service with a backup in front of a sandbox of its own, and a client that asks for Vocero's own events."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.parts import require_module

LIMIT = 30.0
QUERY = "agent_id=agent_demo&vocero_events=true"
PATIENT = {
    "VOCERO_FALLBACK_CHAIN": "elevenlabs,local",
    "VOCERO_FALLBACK_EARS": "false",
    "VOCERO_PUBLIC_AGENTS": "agent_demo",
    # A busy machine is no late answer.
    "VOCERO_AGENT_THINKING_SECONDS": "20",
}


class Listener:
    """One connection, and all that came over it."""

    def __init__(self, socket: ClientConnection, *first: object) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        for message in first:
            self.say(message)

    def say(self, message: object) -> None:
        self.socket.send(json.dumps(message))

    def ask(self, text: str) -> None:
        self.say({"type": "user_message", "text": text})

    def until(self, kind: str, *, limit: float = LIMIT) -> dict[str, Any]:
        """The next event of that type, or what is in it; pings are answered on the way."""
        deadline = time.monotonic() + limit
        while (left := deadline - time.monotonic()) > 0:
            event: dict[str, Any] = json.loads(self.socket.recv(left))
            self.events.append(event)
            if event["type"] == "ping":
                self.say({"type": "pong", "event_id": event["ping_event"]["event_id"]})
            if event["type"] == kind:
                return event
        raise TimeoutError(f"no {kind}; there came {[event['type'] for event in self.events]}")

    def closed(self) -> tuple[int, str]:
        """How the service ends it."""
        try:
            while True:
                self.until("ping")
        except ConnectionClosed as exc:
            assert exc.rcvd is not None
            return exc.rcvd.code, exc.rcvd.reason

    @property
    def received(self) -> int:
        """The events that count, for a resume."""
        return sum(not event["type"].startswith(("connection_", "queue_")) for event in self.events)


Dial = Callable[..., Listener]


@pytest.fixture
def dial() -> Iterator[Dial]:
    """`dial(service)` begins a conversation, `dial(service, resume=...)` goes on with one."""
    require_module("espeakng_loader", "local")  # users must not hear tones, so without a voice nobody steps in
    with ExitStack() as stack:

        def dial_one(service: Any, *, resume: dict[str, Any] | None = None, query: str = QUERY) -> Listener:
            query = query if resume is None else "resume=true&vocero_events=true"
            url = f"{service.ws_url}/v1/convai/conversation?{query}"
            socket = stack.enter_context(_ending(url))
            first = {"type": "conversation_initiation_client_data"}
            if resume is not None:
                first = {"type": "conversation_resume", **resume}
            return Listener(socket, first)

        yield dial_one


@contextmanager
def _ending(url: str) -> Iterator[ClientConnection]:
    with connect(url, close_timeout=1, max_size=None, compression=None) as socket:
        yield socket
