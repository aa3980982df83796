"""A network that drops 500 times at random points of 10,000 events: each arrives exactly once, in order.

The parts are those of a conversation, over real sockets: an `Outbox`, a seat in the `ResumeHall`, and an endpoint's
thread for each connection. What a socket had taken, and the client had not read, is lost with each drop.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import orjson
import pytest

from service.conversation.outbox import Outbox
from service.conversation.resume_hall import ResumeHall, Seat
from service.errors import SocketError
from service.websocket import WebSocketConnection

LIMIT = 60.0
EVENTS, DROPS = 10_000, 500
PING_EVERY = 50
STALL_SECONDS = 0.03
"""After which a client that takes nothing counts as lost: one in five drops is noticed by this alone."""


class Speaker:
    """The conversation's side: says all events, to whichever connection is there."""

    def __init__(self, hall: ResumeHall) -> None:
        self._seat: Seat = hall.open("conv_1", on_arrival=lambda: None)
        self._outbox = Outbox()
        self._connection: WebSocketConnection | None = None
        self.failure: BaseException | None = None
        self.replayed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            for number in range(1, EVENTS + 1):
                kind = "ping" if number % PING_EVERY == 0 else "audio"
                self._say(orjson.dumps({"type": kind, "number": number, "sound": "x" * 300}))
                if kind == "ping":
                    self._outbox.ping_sent(number)
                    self._hear()
            while self._connection is None or self._hear():  # until the client says that it has everything
                self._go_on()
        except BaseException as exc:
            self.failure = exc
        finally:
            self._seat.close()

    def _say(self, event: bytes) -> None:
        self._outbox.sent(event)
        if self._connection is not None and not self._seat.has_arrival:
            with suppress(SocketError):
                self._connection.send_text(event)
                return
        self._go_on()

    def _go_on(self) -> None:
        """Take up the next connection, and give it what it lacks, as often as it takes."""
        while self._connection is None or self._seat.has_arrival or not self._connection.is_open:
            arrival = self._seat.wait_for_client(LIMIT)
            assert arrival is not None, "the client did not come back"
            if self._connection is not None:
                self._connection.abort()
            self._connection = arrival.connection
            missed = self._outbox.missed_after(arrival.received)
            assert missed is not None, "what it lacks is not kept any more"
            self.replayed += len(missed)
            with suppress(SocketError):
                for event in missed:
                    self._connection.send_text(event)

    def _hear(self) -> bool:
        """Take what the client has said; whether it may say more."""
        assert self._connection is not None
        with suppress(SocketError, TimeoutError):
            while True:
                heard = orjson.loads(self._connection.receive(0.0005).data)
                if heard["type"] == "thanks":
                    return False
                self._outbox.pong_received(heard["number"])
        return True


class Listener:
    """The client's side: each of its connections is dropped after a random number of events."""

    def __init__(self, hall: ResumeHall, dice: random.Random) -> None:
        self._hall = hall
        self._dice = dice
        self.numbers: list[int] = []
        self.connections = 0
        self._endpoints: list[threading.Thread] = []

    def listen(self) -> None:
        left_open: list[WebSocketConnection] = []
        while len(self.numbers) < EVENTS:
            connection = self._connect()
            until = self._drop_at()
            with suppress(SocketError):
                while len(self.numbers) < until:
                    self._take(connection)
            if len(self.numbers) >= EVENTS or self._dice.random() < 0.8:
                connection.abort()
            else:  # its network has changed: nobody says goodbye
                left_open.append(connection)
        while len(self._hall):  # this, too, may be lost
            connection = self._connect()
            with suppress(SocketError, TimeoutError):
                connection.send_text(b'{"type":"thanks"}')
                connection.receive(LIMIT)
            connection.abort()
        for endpoint in self._endpoints:
            endpoint.join(LIMIT)
        for connection in left_open:
            connection.abort()

    def _drop_at(self) -> int:
        drops_left = DROPS - (self.connections - 1)
        if drops_left <= 0:
            return EVENTS
        events_left = EVENTS - len(self.numbers)
        return min(EVENTS - drops_left, len(self.numbers) + self._dice.randint(0, 2 * events_left // (drops_left + 1)))

    def _connect(self) -> WebSocketConnection:
        ours, theirs = socket.socketpair()
        connection = WebSocketConnection(ours, is_client=False, write_deadline_seconds=STALL_SECONDS)
        self.connections += 1
        received = len(self.numbers)

        def endpoint() -> None:
            self._hall.hand_over("conv_1", connection, received, 0)
            connection.abort()

        self._endpoints.append(threading.Thread(target=endpoint, daemon=True))
        self._endpoints[-1].start()
        return WebSocketConnection(theirs, is_client=True)

    def _take(self, connection: WebSocketConnection) -> None:
        event = orjson.loads(connection.receive(LIMIT).data)
        self.numbers.append(event["number"])
        if event["type"] == "ping":
            connection.send_text(orjson.dumps({"type": "pong", "number": event["number"]}))


@pytest.fixture
def hall() -> Iterator[ResumeHall]:
    hall = ResumeHall()
    yield hall
    assert len(hall) == 0


def test_each_of_ten_thousand_events_arrives_exactly_once_over_five_hundred_reconnects(hall: ResumeHall) -> None:
    speaker = Speaker(hall)
    listener = Listener(hall, random.Random(2026))
    listener.listen()
    speaker.join()
    assert listener.numbers == list(range(1, EVENTS + 1))
    assert listener.connections > DROPS
    assert speaker.replayed > DROPS  # else nothing was ever lost, and nothing shown
