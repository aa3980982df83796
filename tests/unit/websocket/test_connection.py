"""`WebSocketConnection` over real sockets: both ends are ours, or one end is bytes written by hand."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.errors import ConnectionClosedError, FrameError, WriteDeadlineError
from service.websocket import BINARY, TEXT, WebSocketConnection
from service.websocket.frames import CLOSE, CONTINUATION, PING, PONG, FrameParser, build_frame

LIMIT = 200_000


class Wire:
    """A server connection of ours, and the raw socket of its client."""

    def __init__(self, **options: object) -> None:
        ours, self.raw = socket.socketpair()
        self.connection = WebSocketConnection(ours, is_client=False, max_message_bytes=LIMIT, **options)  # type: ignore[arg-type]
        self.raw.settimeout(10)
        self._parser = FrameParser(expect_masked=False, max_payload_bytes=10**9)

    def write(self, opcode: int, payload: bytes, *, fin: bool = True) -> None:
        frame = bytearray(build_frame(opcode, payload, mask=True))
        if not fin:
            frame[0] &= 0x7F
        self.raw.sendall(frame)

    def read(self) -> tuple[int, bytes]:
        while (frame := self._parser.next_frame()) is None:
            data = self.raw.recv(65_536)
            assert data, "the connection ended"
            self._parser.feed(data)
        return frame.opcode, frame.payload


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.connection.abort()
    wire.raw.close()


def test_fragments_become_one_message_and_control_frames_between_them_are_answered(wire):
    wire.write(TEXT, "¡ho".encode(), fin=False)
    wire.write(PING, b"are you there")
    wire.write(CONTINUATION, b"", fin=False)
    wire.write(CONTINUATION, b"la!")
    assert wire.connection.receive(5) == (TEXT, "¡hola!".encode())
    assert wire.read() == (PONG, b"are you there")


def test_a_message_split_at_every_byte_arrives(wire):
    stream = build_frame(TEXT, b"x" * 300, mask=True)
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(wire.connection.receive, 10)
        for index in range(len(stream)):
            wire.raw.sendall(stream[index : index + 1])
        assert received.result(10) == (TEXT, b"x" * 300)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(CONTINUATION, b"x", True)], 1002),
        ([(TEXT, b"x", False), (TEXT, b"y", True)], 1002),
        ([(TEXT, b"\xc3\x28", True)], 1007),
        ([(TEXT, b"\xc3", False), (CONTINUATION, b"\x28", True)], 1007),
        ([(BINARY, b"z" * 150_000, False), (CONTINUATION, b"z" * 150_000, True)], 1009),
    ],
)
def test_a_broken_message_closes_with_its_code_after_a_farewell(wire, frames, code):
    wire.connection.farewell = lambda number, reason: f"{number} {reason}".encode()
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit(wire.connection.receive, 5)
        for opcode, payload, fin in frames:
            wire.write(opcode, payload, fin=fin)
        opcode, said = wire.read()
        assert (opcode, said[:4]) == (TEXT, str(code).encode())
        opcode, payload = wire.read()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
        wire.raw.close()
        with pytest.raises(FrameError):
            received.result(10)
    with pytest.raises(ConnectionClosedError):
        wire.connection.receive(1)


def test_the_close_frame_reaches_a_client_that_is_still_sending_megabytes(wire):
    """Closing with unread bytes would reset the connection, and the reset would overtake the close frame."""
    with ThreadPoolExecutor(2) as pool:
        sending = pool.submit(wire.raw.sendall, build_frame(TEXT, b"x" * 10_000_000, mask=True))
        received = pool.submit(wire.connection.receive, 5)
        opcode, payload = wire.read()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 1009)
        sending.result(10)
        wire.raw.shutdown(socket.SHUT_WR)
        with pytest.raises(FrameError):
            received.result(10)


def test_a_large_message_is_written_whole_to_a_reader_that_pauses(wire):
    """The trap: simple-websocket writes with one send(), which may be partial."""
    wire.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    payload = bytes(range(256)) * 32_768
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(wire.connection.send_binary, payload)
        assert wire.read() == (BINARY, payload)
        sent.result(10)


def test_a_reader_that_never_reads_meets_the_write_deadline_and_the_connection_dies():
    wire = Wire(write_deadline_seconds=0.2)
    with pytest.raises(WriteDeadlineError):
        wire.connection.send_binary(b"x" * 50_000_000)
    with pytest.raises(ConnectionClosedError):
        wire.connection.send_text("more")
    wire.raw.close()


def test_frames_of_many_writers_do_not_mix(wire):
    def write(letter: bytes) -> None:
        for _ in range(50):
            wire.connection.send_text(letter * 20_000)

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, letter) for letter in (b"a", b"b", b"c", b"d")]
        for _ in range(200):
            opcode, payload = wire.read()
            assert opcode == TEXT
            assert payload == payload[:1] * 20_000
        for writer in writers:
            writer.result(10)


def test_nothing_is_read_until_somebody_asks_so_the_sender_is_held_up(wire):
    wire.raw.settimeout(0.1)
    frame = build_frame(BINARY, b"x" * 65_536, mask=True)
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            wire.raw.sendall(frame)


def test_a_peers_close_is_answered_and_reported_with_its_code_and_reason(wire):
    wire.write(CLOSE, (3008).to_bytes(2, "big") + b"lleno")
    with pytest.raises(ConnectionClosedError) as caught:
        wire.connection.receive(5)
    assert (caught.value.code, caught.value.reason) == (3008, "lleno")
    opcode, payload = wire.read()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, 3008)


def test_a_connection_that_ends_without_a_close_frame_is_1006(wire):
    wire.raw.close()
    with pytest.raises(ConnectionClosedError) as caught:
        wire.connection.receive(5)
    assert caught.value.code == 1006


def test_closing_from_another_thread_wakes_the_reader_and_takes_the_peers_answer(wire):
    with ThreadPoolExecutor(2) as pool:
        received = pool.submit(wire.connection.receive, 10)
        closed = pool.submit(wire.connection.close, 1012, "restart", 5.0)
        opcode, payload = wire.read()
        assert (opcode, payload) == (CLOSE, (1012).to_bytes(2, "big") + b"restart")
        wire.write(CLOSE, payload)
        closed.result(10)
        with pytest.raises(ConnectionClosedError):
            received.result(10)
    wire.connection.close()
    assert not wire.connection.is_open


def test_a_timeout_leaves_the_connection_usable_and_the_half_frame_kept(wire):
    stream = build_frame(TEXT, b"later", mask=True)
    wire.raw.sendall(stream[:4])
    with pytest.raises(TimeoutError):
        wire.connection.receive(0.05)
    wire.raw.sendall(stream[4:])
    assert wire.connection.receive(5).data == b"later"


def test_a_sender_of_tiny_frames_does_not_keep_the_others_from_their_turn(wire, monkeypatch):
    turns = []
    monkeypatch.setattr(time, "sleep", turns.append)
    wire.raw.settimeout(None)
    sender = threading.Thread(target=wire.raw.sendall, args=(build_frame(TEXT, b"", mask=True) * 1000,))
    sender.start()
    for _ in range(1000):
        wire.connection.receive(5)
    sender.join()
    assert len(turns) == 1000 // 64
