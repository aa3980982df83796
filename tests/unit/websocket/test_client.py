"""Opening a WebSocket against real servers: the `websockets` library's, and bytes written by hand."""

from __future__ import annotations

import contextlib
import http
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from websockets.sync.server import Server, ServerConnection, serve
from websockets.utils import accept_key

from service.errors import HandshakeError, UnansweredError
from service.websocket import TEXT, connect, dial, upgrade
from service.websocket.frames import build_frame

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="


@contextmanager
def library_server(handler: Callable[[ServerConnection], None], **options: object) -> Iterator[str]:
    server: Server = serve(handler, "127.0.0.1", 0, **options)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}/path"
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def raw_server(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Answers one connection's request head with `answer(head)` in one segment, then hangs up when told to."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            connection.sendall(answer(head))
            done.wait(10)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        done.set()
        thread.join()
        listener.close()


def accept(head: bytes) -> bytes:
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split(b": ")[1]
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept_key(key.decode()).encode()
        + b"\r\n\r\n"
    )


def test_messages_go_both_ways_and_headers_and_subprotocol_are_sent():
    seen = {}

    def handler(connection: ServerConnection) -> None:
        seen.update(connection.request.headers.raw_items())
        connection.send(str(connection.recv()).upper())

    with library_server(handler, subprotocols=["convai"]) as url:
        connection = connect(url, headers={"x-test": "1"}, subprotocols=["convai"])
        connection.send_text("hola")
        assert connection.receive(5) == (TEXT, b"HOLA")
        assert connection.subprotocol == "convai"
        connection.close()
    assert seen["x-test"] == "1"
    assert "Sec-WebSocket-Extensions" not in seen


def test_a_first_frame_in_the_same_segment_as_the_101_is_delivered_at_once():
    """The trap: simple-websocket's client holds it for 2 s, websockets.sync for 3 s, websocket-client for 1 s."""
    with raw_server(lambda head: accept(head) + build_frame(TEXT, b"first", mask=False)) as url:
        connection = connect(url)
        # Everything is here already: without waiting for the network at all the message must come.
        assert connection.receive(0.001) == (TEXT, b"first")
        connection.abort()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_a_refused_upgrade_is_reported_with_status_headers_and_body(status):
    def refuse(connection: ServerConnection, _request: object) -> object:
        response = connection.respond(http.HTTPStatus(status), '{"detail":"no"}')
        response.headers["Retry-After"] = "7"
        return response

    with library_server(lambda _: None, process_request=refuse) as url, pytest.raises(HandshakeError) as caught:
        connect(url)
    assert (caught.value.status, caught.value.body) == (status, b'{"detail":"no"}')
    assert caught.value.headers["retry-after"] == "7"


@pytest.mark.parametrize(
    "answer",
    [
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: bm90IHRoZSByaWdodCBvbmU=\r\n\r\n"
        ),
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\nshort",
        b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"x" * 100_000,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_an_answer_that_makes_no_sense_is_a_handshake_error(answer):
    with raw_server(lambda _: answer) as url, pytest.raises(HandshakeError):
        connect(url, connect_seconds=1)


def test_an_answer_that_comes_byte_by_byte_is_read_and_what_follows_it_is_not_lost():
    frame = build_frame(TEXT, b"first", mask=False)

    def run(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in accept(connection.recv(65_536)) + frame:
                connection.send(bytes([byte]))
            connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        connection = connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/")
        assert connection.receive(5) == (TEXT, b"first")
        connection.abort()
        thread.join()


def test_an_answer_may_be_cut_in_two_anywhere(monkeypatch):
    """Every place in turn, with a socket that hands out the two parts."""
    answer = accept(b"Sec-WebSocket-Key: " + KEY + b"\r\n") + build_frame(TEXT, b"x", mask=False)
    monkeypatch.setattr("service.websocket.client.new_key", lambda: KEY)

    def finish(theirs: socket.socket, rest: bytes) -> None:
        theirs.recv(65_536)
        theirs.sendall(rest)

    for cut in range(1, len(answer)):
        ours, theirs = socket.socketpair()
        monkeypatch.setattr("service.websocket.client._connect", lambda *_, ours=ours: ours)
        with theirs:
            theirs.sendall(answer[:cut])
            writer = threading.Thread(target=finish, args=(theirs, answer[cut:]))
            writer.start()
            connection = connect("ws://localhost/")
            writer.join()
            assert connection.receive(5) == (TEXT, b"x")
            connection.abort()


def test_a_server_that_hangs_up_during_the_upgrade_is_an_os_error():
    def run(listener: socket.socket) -> None:
        listener.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        with pytest.raises(OSError, match=r"hung up|reset|Broken pipe"):
            connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()


def test_a_server_that_drips_its_answer_gets_no_more_time_than_one_that_is_silent():
    ended = threading.Event()

    def run(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            while not ended.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, args=(listener,))
        thread.start()
        with pytest.raises(TimeoutError):
            connect(f"ws://127.0.0.1:{listener.getsockname()[1]}/", connect_seconds=0.3)
        ended.set()
        thread.join()


def test_a_secure_url_needs_a_context_and_nothing_is_opened_without():
    with pytest.raises(ValueError, match="context"):
        connect("wss://127.0.0.1:1/")


def test_a_server_that_says_nothing_is_a_timeout():
    with raw_server(lambda _: b"") as url, pytest.raises(TimeoutError):
        connect(url, connect_seconds=0.2)


def test_a_port_where_nobody_listens_is_an_os_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(OSError):
        connect(f"ws://127.0.0.1:{port}/")


def test_a_connection_that_was_dialled_before_is_upgraded_later():
    with library_server(lambda connection: connection.send(str(connection.recv()).upper())) as url:
        sock = dial(url)
        connection = upgrade(sock, url)
        connection.send_text("hola")
        assert connection.receive(5) == (TEXT, b"HOLA")
        connection.close()


@pytest.mark.parametrize("manner", ["before", "without an answer", "reset"])
def test_a_connection_that_ends_before_any_answer_says_so_and_is_closed(manner):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        sock = dial(url)
        theirs, _ = listener.accept()
        if manner == "reset":
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if manner == "without an answer":
            theirs.shutdown(socket.SHUT_WR)
        else:
            theirs.close()
        with pytest.raises(UnansweredError):
            upgrade(sock, url)
        assert sock.fileno() < 0
        theirs.close()


def test_a_connection_that_ends_in_the_middle_of_its_answer_has_answered():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        sock = dial(url)
        theirs, _ = listener.accept()
        theirs.sendall(b"HTTP/1.1 101 Switching")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionResetError) as caught:
            upgrade(sock, url)
        assert not isinstance(caught.value, UnansweredError)
        theirs.close()


def test_what_cannot_be_asked_closes_the_connection():
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(ValueError, match="header"):
        upgrade(ours, "ws://localhost/", headers={"x": "\n"})
    assert ours.fileno() < 0


def test_whoever_counts_connections_is_told_once_when_one_has_ended():
    ended = []
    with library_server(lambda connection: connection.close()) as url:
        connection = connect(url)
        connection.on_end = lambda: ended.append(1)
        connection.close()
        connection.abort()
    assert ended == [1]
