"""Where a conversation and the new connection of its client find each other, within one worker.

The key decision: a connection lives only as long as the endpoint's thread that took it in (the server closes it when
that returns), while the conversation runs in the thread of its first connection. So the newcomer's thread hands its
connection over and sleeps until it is given back: when the next one takes its place, or the conversation has ended.

The one that came last counts. A client whose network changed is back before anybody has noticed that it was gone, so a
conversation is told of an arrival even while it believes that its client is there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from service.conversation.endings import GOES_ON, TAKEN_ELSEWHERE
from service.websocket import WebSocketConnection

TAKE_UP_SECONDS = 10.0
"""That a conversation has for taking up an arrival: it may be in the middle of opening another leg."""

LOOK_SECONDS = 30.0


@dataclass(frozen=True)
class Arrival:
    """A client that is back: what it says that it has `received` of the events, and the highest id among them."""

    connection: WebSocketConnection
    received: int
    last_event_id: int


class _Visit:
    """One arrival, from when it comes until its connection is given back. The seat's lock guards it."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.is_taken = False
        self.is_displaced = False
        self.over = threading.Event()


class Seat:
    """A conversation's place in the hall, from `ResumeHall.open` on. Used by the conversation's thread.

    `on_arrival` is called, in the newcomer's thread, when one has come: it must not block, and leads the conversation
    to `wait_for_client`, whatever it does just now.
    """

    def __init__(self, on_arrival: Callable[[], None], on_close: Callable[[Seat], None]) -> None:
        self._on_arrival = on_arrival
        self._on_close = on_close
        self._changed = threading.Condition()
        self._coming: _Visit | None = None
        self._present: _Visit | None = None
        self._is_closed = False

    @property
    def has_arrival(self) -> bool:
        """Whether somebody has come who was not taken up yet."""
        return self._coming is not None

    def wait_for_client(self, timeout: float) -> Arrival | None:
        """The client that is back, within `timeout` seconds; None: it did not come, or the seat is closed.

        The connection is the conversation's until the next one is taken, or the seat is closed.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._coming is None and not self._is_closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
            visit, self._coming = self._coming, None
            if visit is None:
                return None
            visit.is_taken = True
            before, self._present = self._present, visit
        if before is not None:
            before.over.set()
        return visit.arrival

    def close(self) -> None:
        """The conversation has ended: give every connection back, and turn away whoever comes."""
        with self._changed:
            self._is_closed = True
            visits = [visit for visit in (self._coming, self._present) if visit is not None]
            self._coming = self._present = None
            self._changed.notify_all()
        for visit in visits:
            visit.over.set()
        self._on_close(self)

    def receive(self, arrival: Arrival) -> bool:
        """Let an arrival in, and hold it until its connection is given back; False: the conversation has ended."""
        visit = _Visit(arrival)
        with self._changed:
            if self._is_closed:
                return False
            displaced, self._coming = self._coming, visit
            if displaced is not None:
                displaced.is_displaced = True
                displaced.over.set()
            self._changed.notify_all()
        self._on_arrival()
        self._stay(visit)
        if visit.is_displaced:
            arrival.connection.close(TAKEN_ELSEWHERE, GOES_ON)
        return visit.is_taken or visit.is_displaced

    def _stay(self, visit: _Visit) -> None:
        if visit.over.wait(TAKE_UP_SECONDS):
            return
        with self._changed:
            if self._coming is visit:  # nobody took it up
                self._coming = None
                return
        while not visit.over.wait(LOOK_SECONDS):
            if self._is_closed:
                return


class ResumeHall:
    """The seats of this worker's conversations."""

    def __init__(self) -> None:
        self._seats: dict[str, Seat] = {}
        self._lock = threading.Lock()

    def open(self, conversation_id: str, *, on_arrival: Callable[[], None]) -> Seat:
        """A seat for a conversation that may be come back to; whoever had one of this name before has none any more."""

        def leave(seat: Seat) -> None:
            with self._lock:
                if self._seats.get(conversation_id) is seat:
                    del self._seats[conversation_id]

        seat = Seat(on_arrival, leave)
        with self._lock:
            before = self._seats.pop(conversation_id, None)
            self._seats[conversation_id] = seat
        if before is not None:
            before.close()
        return seat

    def hand_over(
        self, conversation_id: str, connection: WebSocketConnection, received: int, last_event_id: int
    ) -> bool:
        """Give a client's new connection to its conversation, and return when that needs it no more.

        False: no such conversation is here, or it has not taken the connection, which is still the caller's.
        """
        with self._lock:
            seat = self._seats.get(conversation_id)
        return seat is not None and seat.receive(Arrival(connection, received, last_event_id))

    def __len__(self) -> int:
        return len(self._seats)
