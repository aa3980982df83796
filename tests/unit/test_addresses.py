"""Where a host is: looked up when it must be, and no oftener."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from service import addresses
from service.errors import HandshakeError
from service.websocket import connect

Lookups = list[str]


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lookups]:
    """The names that were looked up, by the real lookup."""
    seen: Lookups = []
    real = socket.getaddrinfo

    def note(host: str, *args: object, **options: object) -> object:
        seen.append(host)
        return real(host, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", note)
    monkeypatch.setattr(addresses, "_kept", {})
    return seen


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[tuple[str, int]]], None]:
    """Give any name these addresses from now on."""
    monkeypatch.setattr(addresses, "_kept", {})

    def answer(places: list[tuple[str, int]]) -> None:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return answer


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def refusing_server() -> Iterator[int]:
    """Its port: whoever connects is answered with a 403."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("192.0.2.7", socket.AF_INET)]
)
def test_what_is_an_address_is_not_looked_up(lookups: Lookups, host: str, family: int):
    assert addresses.look_up(host, 80, seconds=5.0) == [(family, (host, 80))]
    assert lookups == []


def test_a_name_is_looked_up_once_in_a_while(lookups: Lookups, monkeypatch: pytest.MonkeyPatch):
    first = addresses.look_up("localhost", 80, seconds=5.0)
    assert (socket.AF_INET, ("127.0.0.1", 80)) in first
    assert addresses.look_up("localhost", 80, seconds=5.0) == first
    assert lookups == ["localhost"]
    addresses.look_up("localhost", 81, seconds=5.0)
    assert lookups == ["localhost"] * 2
    later = time.monotonic() + addresses.KEPT_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    addresses.look_up("localhost", 80, seconds=5.0)
    assert lookups == ["localhost"] * 3


def test_a_name_that_nobody_knows_is_an_os_error_and_is_asked_for_again(
    lookups: Lookups, monkeypatch: pytest.MonkeyPatch
):
    for _ in range(2):
        with pytest.raises(OSError):
            addresses.look_up("nowhere.invalid", 80, seconds=5.0)
    assert lookups == ["nowhere.invalid"] * 2


def test_whoever_asks_a_silent_name_server_waits_as_long_as_they_have_and_the_next_one_for_the_same_answer(
    monkeypatch: pytest.MonkeyPatch,
):
    answers, asked = threading.Event(), threading.Semaphore(0)

    def silent(*_: object, **__: object) -> object:
        asked.release()
        answers.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 80))]

    monkeypatch.setattr(addresses, "_kept", {})
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            addresses.look_up("voice.example", 80, seconds=0.01)
    with ThreadPoolExecutor() as pool:
        third = pool.submit(addresses.look_up, "voice.example", 80, seconds=10)
        answers.set()
        assert third.result(10) == [(socket.AF_INET, ("192.0.2.7", 80))]
    assert asked.acquire(timeout=10)
    assert not asked.acquire(blocking=False), "one lookup for all three"


def test_no_more_than_so_many_names_are_kept(name_server: Callable[..., None]):
    name_server([("127.0.0.1", 1)])
    for number in range(3 * addresses.MAX_HOSTS):
        addresses.look_up(f"host{number}.example", 1, seconds=5.0)
        assert len(addresses._kept) <= addresses.MAX_HOSTS


def test_a_host_that_answers_at_its_second_address_is_reached(name_server: Callable[..., None], refusing_server: int):
    name_server([("127.0.0.1", closed_port()), ("127.0.0.1", refusing_server)])
    with pytest.raises(HandshakeError) as caught:
        connect("ws://voice.example/")
    assert caught.value.status == 403


def test_an_address_where_nobody_answers_leaves_time_for_the_next(
    name_server: Callable[..., None], refusing_server: int
):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        for _ in range(2):  # what comes now is not answered
            taken = stack.enter_context(socket.socket())
            taken.setblocking(False)
            taken.connect_ex(full.getsockname())
        name_server([full.getsockname(), ("127.0.0.1", refusing_server)])
        with pytest.raises(HandshakeError):
            connect("ws://voice.example/", connect_seconds=2.0)


def test_a_host_that_has_moved_is_found_by_the_next_attempt(name_server: Callable[..., None], refusing_server: int):
    name_server([("127.0.0.1", closed_port())])
    with pytest.raises(ConnectionRefusedError):
        connect("ws://voice.example/")
    name_server([("127.0.0.1", refusing_server)])
    with pytest.raises(HandshakeError):
        connect("ws://voice.example/")
