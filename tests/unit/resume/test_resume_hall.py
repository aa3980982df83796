"""A conversation and its client's new connection find each other, whatever the order in which they come."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from scripts.launcher.waiting import wait_until
from service.conversation import resume_hall
from service.conversation.resume_hall import ResumeHall
from service.errors import ConnectionClosedError
from service.websocket import WebSocketConnection

LIMIT = 20.0


class Newcomer:
    """A client that is back, and the endpoint's thread that hands it over."""

    def __init__(self, hall: ResumeHall, name: str = "conv_1", received: int = 0) -> None:
        ours, theirs = socket.socketpair()
        self.connection = WebSocketConnection(ours, is_client=False)
        self.client = WebSocketConnection(theirs, is_client=True)
        self.was_taken: bool | None = None
        self._thread = threading.Thread(target=self._come, args=(hall, name, received), daemon=True)
        self._thread.start()

    def _come(self, hall: ResumeHall, name: str, received: int) -> None:
        self.was_taken = hall.hand_over(name, self.connection, received, 0)

    @property
    def is_waiting(self) -> bool:
        return self._thread.is_alive()

    def leaves(self) -> bool:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()
        return bool(self.was_taken)

    def close(self) -> None:
        self.client.abort()
        self.connection.abort()


Come = Callable[..., Newcomer]


@pytest.fixture
def hall() -> ResumeHall:
    return ResumeHall()


@pytest.fixture
def come(hall: ResumeHall) -> Iterator[Come]:
    came: list[Newcomer] = []

    def come(*arguments: object, **options: object) -> Newcomer:
        came.append(Newcomer(hall, *arguments, **options))  # type: ignore[arg-type]
        return came[-1]

    yield come
    for newcomer in came:
        newcomer.close()


def nothing() -> None:
    pass


def test_a_waiting_conversation_gets_the_connection_and_keeps_it_until_its_end(hall: ResumeHall, come: Come) -> None:
    seat = hall.open("conv_1", on_arrival=nothing)
    newcomer = come(received=3)
    arrival = seat.wait_for_client(LIMIT)
    assert arrival is not None
    assert (arrival.connection, arrival.received) == (newcomer.connection, 3)
    assert newcomer.is_waiting
    seat.close()
    assert newcomer.leaves()
    assert len(hall) == 0


def test_a_client_that_is_back_before_its_loss_was_noticed_is_announced(hall: ResumeHall, come: Come) -> None:
    announced = threading.Event()
    seat = hall.open("conv_1", on_arrival=announced.set)
    first = come()
    assert announced.wait(LIMIT)
    assert seat.has_arrival
    assert seat.wait_for_client(0) is not None
    second = come()
    arrival = seat.wait_for_client(LIMIT)
    assert arrival is not None and arrival.connection is second.connection
    assert first.leaves()  # its connection is not needed any more
    assert second.is_waiting
    seat.close()
    assert second.leaves()


def test_nobody_comes(hall: ResumeHall) -> None:
    seat = hall.open("conv_1", on_arrival=nothing)
    assert seat.wait_for_client(0.01) is None
    assert not seat.has_arrival


def test_of_two_that_come_at_once_the_last_counts_and_the_other_is_told(hall: ResumeHall, come: Come) -> None:
    came = threading.Semaphore(0)
    seat = hall.open("conv_1", on_arrival=came.release)
    first = come()
    assert came.acquire(timeout=LIMIT)
    second = come()
    assert came.acquire(timeout=LIMIT)
    with pytest.raises(ConnectionClosedError) as closed:
        first.client.receive(LIMIT)
    assert closed.value.code == 4409
    assert first.leaves()
    arrival = seat.wait_for_client(LIMIT)
    assert arrival is not None and arrival.connection is second.connection
    seat.close()


def test_an_unknown_conversation_takes_nobody(come: Come) -> None:
    newcomer = come("conv_2")
    assert not newcomer.leaves()
    assert newcomer.connection.is_open  # the endpoint has something to say


def test_who_comes_while_the_conversation_ends_is_turned_away(hall: ResumeHall, come: Come) -> None:
    announced = threading.Event()
    seat = hall.open("conv_1", on_arrival=announced.set)
    newcomer = come()
    assert announced.wait(LIMIT)
    seat.close()
    assert not newcomer.leaves()
    assert newcomer.connection.is_open
    assert seat.wait_for_client(LIMIT) is None
    assert not come().leaves()


def test_closing_ends_the_wait(hall: ResumeHall) -> None:
    seat = hall.open("conv_1", on_arrival=nothing)
    found: list[object] = []
    waiting = threading.Thread(target=lambda: found.append(seat.wait_for_client(LIMIT)), daemon=True)
    waiting.start()
    seat.close()
    waiting.join(LIMIT)
    assert found == [None]


def test_a_conversation_that_hangs_gives_the_newcomer_up(
    hall: ResumeHall, come: Come, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume_hall, "TAKE_UP_SECONDS", 0.05)
    seat = hall.open("conv_1", on_arrival=nothing)
    assert not come().leaves()
    assert not seat.has_arrival


def test_a_second_conversation_of_that_name_takes_the_seat(hall: ResumeHall, come: Come) -> None:
    old = hall.open("conv_1", on_arrival=nothing)
    new = hall.open("conv_1", on_arrival=nothing)
    assert old.wait_for_client(0) is None
    old.close()  # does not take the seat of the new one
    newcomer = come()
    wait_until(lambda: new.has_arrival, LIMIT)
    assert new.wait_for_client(0) is not None
    new.close()
    assert newcomer.leaves()


def test_arrivals_and_ends_in_any_order_leave_nobody_behind(hall: ResumeHall, come: Come) -> None:
    for _ in range(30):
        seat = hall.open("conv_1", on_arrival=nothing)
        newcomers = [come() for _ in range(3)]
        ending = threading.Thread(target=seat.close, daemon=True)
        taking = threading.Thread(target=seat.wait_for_client, args=(0.01,), daemon=True)
        taking.start()
        ending.start()
        for newcomer in newcomers:
            newcomer.client.abort()
            newcomer.leaves()
        taking.join(LIMIT)
        ending.join(LIMIT)
    assert len(hall) == 0
