"""A leg of a conversation as its relay sees it: events out of its socket, events into it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from service.errors import ConnectionClosedError
from service.fallback.local_leg import LocalLeg
from service.websocket import WebSocketConnection

LIMIT = 10.0

Event = dict[str, Any]


class Leg(Protocol):
    """What every provider gives (`service.conversation.conversation.AgentLeg`)."""

    socket: WebSocketConnection


class LegTalk:
    """Talks with a leg; whatever comes is in `events`."""

    def __init__(self, leg: Leg) -> None:
        self.leg = leg
        self.events: list[Event] = []
        self.close_code: int | None = None

    def end(self) -> None:
        """End the leg, and wait until nothing of it runs."""
        self.leg.socket.abort()
        if isinstance(self.leg, LocalLeg):
            self.leg.join(LIMIT)

    def send(self, kind: str, **fields: Any) -> None:
        """Send an event."""
        self.leg.socket.send_text(json.dumps({"type": kind, **fields}))

    def write(self, text: str) -> None:
        """Say something in writing."""
        self.send("user_message", text=text)

    def read(self, limit: float = LIMIT) -> Event | None:
        """The next event; pings are answered. None when the leg has ended."""
        try:
            event: Event = json.loads(self.leg.socket.receive(limit).data)
        except ConnectionClosedError as exc:
            self.close_code = exc.code
            return None
        self.events.append(event)
        if event["type"] == "ping":
            self.send("pong", event_id=event["ping_event"]["event_id"])
        return event

    def read_until(self, condition: Callable[[], object], what: str) -> None:
        """Read until a condition holds."""
        deadline = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > deadline or self.read(max(0.01, deadline - time.monotonic())) is None:
                raise AssertionError(f"there was no {what}, but {self.kinds()}")

    def wait_for(self, kind: str, count: int = 1) -> Event:
        """Read until the `count`-th event of a type; that event."""
        self.read_until(lambda: len(self.of(kind)) >= count, f"{count}. {kind}")
        return self.of(kind)[count - 1]

    def wait_for_end(self) -> int:
        """Read to the close; its code."""
        while self.read() is not None:
            pass
        assert self.close_code is not None
        return self.close_code

    def of(self, kind: str) -> list[Event]:
        """The events of a type."""
        return [event for event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        """The types of all events."""
        return [event["type"] for event in self.events]

    def answers(self) -> list[str]:
        """The agent's answers as text."""
        return [event["agent_response_event"]["agent_response"] for event in self.of("agent_response")]

    def spoken(self, event_id: int) -> str:
        """What was spoken in one turn, by its alignment."""
        return "".join(
            "".join(event["audio_event"]["alignment"]["chars"])
            for event in self.of("audio")
            if event["audio_event"]["event_id"] == event_id
        )

    def wait_for_spoken_answer(self, count: int) -> tuple[int, str]:
        """Read until the `count`-th answer was spoken to its end; its id and text."""
        answer = self.wait_for("agent_response", count)["agent_response_event"]
        event_id, text = answer["event_id"], answer["agent_response"]
        self.read_until(lambda: self.spoken(event_id) == text, f"sound of {text!r}, only {self.spoken(event_id)!r}")
        return event_id, text


def turn_ids(events: list[Event]) -> list[int]:
    """The ids of all events of turns, in order."""
    payloads = [
        value for event in events for value in event.values() if isinstance(value, dict) and "event_id" in value
    ]
    pings = [event["ping_event"] for event in events if event["type"] == "ping"]
    return [payload["event_id"] for payload in payloads if payload not in pings]
