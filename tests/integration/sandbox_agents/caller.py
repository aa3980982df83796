"""A client of the sandbox's agents that sees every frame and holds each against ElevenLabs' contract."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.unit.fallback_agent.contract import Contract, contract_if_there

LIMIT = 10.0
KEY = "sandbox-key"
OPEN = {"type": "conversation_initiation_client_data"}


class Caller:
    """One open socket. `events` are all that came so far."""

    def __init__(self, socket: ClientConnection, contract: Contract | None) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self._contract = contract

    def send(self, event: dict[str, Any]) -> None:
        """Send a client event."""
        self.socket.send(json.dumps(event))

    def write(self, text: str) -> None:
        """Send a written message of the user's."""
        self.send({"type": "user_message", "text": text})

    def next(self) -> dict[str, Any]:
        """Receive one event."""
        event: dict[str, Any] = json.loads(self.socket.recv(timeout=LIMIT))
        if self._contract is not None:
            self._contract.check_server_event(event)
        self.events.append(event)
        return event

    def wait_for(self, kind: str, *, event_id: int = 0) -> dict[str, Any]:
        """Receive until an event of that type comes, of the turn `event_id` or a later one."""
        while True:
            event = self.next()
            if event["type"] == kind and (not event_id or id_of(event) >= event_id):
                return event

    def wait_for_close(self) -> tuple[int, str]:
        """Receive until the server has closed; the result is its code and reason."""
        try:
            while True:
                self.next()
        except ConnectionClosed as exc:
            assert exc.rcvd is not None, "the connection was cut without a close frame"
            return exc.rcvd.code, exc.rcvd.reason

    def kinds(self) -> list[str]:
        """The types of all events that came so far."""
        return [event["type"] for event in self.events]

    def sound(self) -> bytes:
        """All sound that came so far."""
        chunks = [event["audio_event"]["audio_base_64"] for event in self.events if event["type"] == "audio"]
        return b"".join(base64.b64decode(chunk) for chunk in chunks)


@contextmanager
def calling(url: str, *, key: str | None = None, subprotocols: list[str] | None = None) -> Iterator[Caller]:
    """Open a socket at a full address (http is read as ws)."""
    headers = {"xi-api-key": key} if key else {}
    with connect(
        url.replace("http", "ws", 1),
        additional_headers=headers,
        subprotocols=subprotocols,
        open_timeout=LIMIT,
        close_timeout=LIMIT,
        max_queue=None,  # else its reader pauses behind frames that the test does not take, and sees no close frame
    ) as socket:
        yield Caller(socket, contract_if_there())


def address(base: str, **query: str) -> str:
    """The conversation socket's address at a sandbox."""
    return f"{base}/v1/convai/conversation?" + "&".join(f"{name}={value}" for name, value in query.items())


def id_of(event: dict[str, Any]) -> int:
    """The event id inside an event's payload, 0 where there is none."""
    payload = next((value for name, value in event.items() if name != "type"), {})
    return int(payload.get("event_id", 0))
