"""`WebSocketConnection`: the one wrapper around an open WebSocket's socket, for servers and clients alike.

The key decisions:

* every write goes out whole or kills the connection, within a deadline: simple-websocket writes with one `send()`,
  which under gevent may be partial, and the reader then sees garbage (docs/architecture.md, traps);
* nothing is read until somebody asks, so a consumer that is slow slows its sender through TCP;
* liveness is any byte that arrived (`last_received`), because a ping can be queued behind audio.

One thread reads. Any thread may write: a lock serialises whole frames, held for at most the write deadline.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from service.errors import ConnectionClosedError, FrameError, SocketError, WriteDeadlineError
from service.websocket import frames
from service.websocket.frames import BINARY, CLOSE, PING, TEXT, Frame
from service.websocket.messages import Message, MessageReader

READ_BYTES = 65_536
LINGER_SECONDS = 1.0
# Frames handed out of one read before the other greenlets get their turn: a sender of tiny frames must not be able
# to hold the worker (65,536 bytes may be 10,000 frames).
FRAMES_BEFORE_YIELD = 64


class LentSocket(NamedTuple):
    """What `WebSocketConnection.lend` gives: `masks` tells whether frames that are sent must be masked; `unsent` is to
    be sent before anything else."""

    sock: socket.socket
    is_encrypted: bool
    reader: MessageReader
    masks: bool
    write_deadline_seconds: float
    unsent: bytes


class WebSocketConnection:
    """An open WebSocket over `sock`, which it owns from now on.

    `received` are bytes that the handshake read too far. `max_message_bytes` bounds one message over all its frames.
    """

    __slots__ = (
        "_close_sent", "_frames_since_yield", "_is_client", "_peer_close", "_peer_gone", "_reader", "_reading",
        "_sock", "_unsent", "_write_deadline_seconds", "_write_lock", "farewell", "last_received", "on_end",
        "subprotocol",
    )  # fmt: skip

    def __init__(
        self,
        sock: socket.socket,
        *,
        is_client: bool,
        write_deadline_seconds: float = 5.0,
        max_message_bytes: int = 16 * 1024 * 1024,
        subprotocol: str | None = None,
        received: bytes = b"",
    ) -> None:
        self._sock: socket.socket | None = sock
        self._is_client = is_client
        self._write_deadline_seconds = write_deadline_seconds
        self._reader = MessageReader(expect_masked=not is_client, max_message_bytes=max_message_bytes)
        self._reader.feed(received)
        self._unsent = b""
        self._frames_since_yield = 0
        self._write_lock = threading.Lock()
        self._close_sent = False
        self._peer_close: ConnectionClosedError | None = None
        self._peer_gone: threading.Event | None = None
        self._reading = False
        self.subprotocol = subprotocol
        # What is said as a text message before a close that is not normal: a close frame holds 123 bytes, and
        # ElevenLabs' clients expect an `error` event. Empty: nothing is said.
        self.farewell: Callable[[int, str], bytes] | None = None
        # Called once, when the TCP connection has been ended, whoever ended it: for one who counts connections.
        self.on_end: Callable[[], None] | None = None
        self.last_received = time.monotonic()

    # --- Reading

    def receive(self, timeout: float | None = None) -> Message:
        """The next message; pings are answered and pongs swallowed on the way.

        Raises:
            TimeoutError: no whole message within `timeout` seconds.
            ConnectionClosedError: the peer closed, or is gone (1006).
            FrameError: the peer broke the protocol; the connection was closed with the error's code.
        """
        if self._peer_close or self._close_sent:
            raise self._peer_close or ConnectionClosedError(1006, "the connection is closed")
        return self._receive(None if timeout is None else time.monotonic() + timeout)

    def _receive(self, deadline: float | None) -> Message:
        self._reading = True
        try:
            while (message := self._next_message()) is None:
                self._fill(deadline)
            return message
        except FrameError as exc:
            self.refuse(exc)
            raise
        except ConnectionClosedError as exc:
            self._note_peer_close(exc)
            raise
        finally:
            self._reading = False

    def _next_message(self) -> Message | None:
        while (found := self._reader.next()) is not None:
            self._take_turns()
            if isinstance(found, Message):
                return found
            self._handle_control(found)
        return None

    def _handle_control(self, frame: Frame) -> None:
        if frame.opcode == PING:
            self._send(frames.PONG, frame.payload)
        elif frame.opcode == CLOSE:
            code, reason = frames.read_close_payload(frame.payload)
            with contextlib.suppress(SocketError):
                self._send_close(frames.sendable_close_code(code), "", with_farewell=False)
            raise ConnectionClosedError(code, reason)

    def _fill(self, deadline: float | None) -> None:
        sock = self._open_socket()
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError("no message in time")
            # Under gevent nothing switches between these two calls; with plain threads a writer may set its own
            # timeout in between, and then the loop waits for what is left.
            try:
                sock.settimeout(left)
                data = sock.recv(READ_BYTES)
            except TimeoutError:
                continue
            except OSError as exc:
                raise ConnectionClosedError(1006, "the connection was lost") from exc
            break
        if not data:
            raise ConnectionClosedError(1006, "the connection ended without a close frame")
        self.last_received = time.monotonic()
        self._reader.feed(data)

    def _take_turns(self) -> None:
        self._frames_since_yield += 1
        if self._frames_since_yield >= FRAMES_BEFORE_YIELD:
            self._frames_since_yield = 0
            time.sleep(0)

    # --- Writing

    def send_text(self, payload: str | bytes) -> None:
        """Send one text message, whole.

        Raises:
            WriteDeadlineError: the peer did not take it within the write deadline; the connection is dead.
            ConnectionClosedError: the connection is closed or lost.
        """
        self._send(TEXT, payload.encode() if isinstance(payload, str) else payload)

    def send_binary(self, payload: bytes) -> None:
        """Send one binary message; raises as `send_text`."""
        self._send(BINARY, payload)

    def ping(self, payload: bytes = b"") -> None:
        """Ask for a sign of life (at most 125 bytes); raises as `send_text`."""
        self._send(PING, payload)

    def _send(self, opcode: int, payload: bytes) -> None:
        if self._close_sent:
            raise self._peer_close or ConnectionClosedError(1006, "the connection is closed")
        self._write(frames.build_frame(opcode, payload, mask=self._is_client))

    def _write(self, data: bytes) -> None:
        deadline = time.monotonic() + self._write_deadline_seconds
        if not self._write_lock.acquire(timeout=self._write_deadline_seconds):
            self.abort()
            raise WriteDeadlineError(1013, "the peer does not read")
        unsent, self._unsent = self._unsent, b""
        try:
            self._write_all(memoryview(unsent + data if unsent else data), deadline)
        finally:
            self._write_lock.release()

    def _write_all(self, data: memoryview, deadline: float) -> None:
        sock = self._open_socket()
        while data:
            left = deadline - time.monotonic()
            if left <= 0:
                # Part of the frame may be out: nothing that follows could be understood.
                self.abort()
                raise WriteDeadlineError(1013, "the peer does not read")
            try:
                sock.settimeout(left)
                data = data[sock.send(data) :]
            except TimeoutError:
                continue
            except OSError as exc:
                self.abort()
                raise ConnectionClosedError(1006, "the connection was lost") from exc

    # --- Lending the socket to an event loop

    def lend(self) -> LentSocket:
        """Give the socket and what has been read of it to somebody who serves it without blocking.

        Until `take_back`, only that one may use it. The socket no longer blocks: what would have to wait raises.

        Raises:
            ConnectionClosedError: it is closed.
        """
        sock = self._open_socket()
        sock.settimeout(0.0)
        # Not every TLS socket is an `ssl.SSLSocket`: gevent has its own.
        is_encrypted = hasattr(sock, "pending")
        unsent, self._unsent = self._unsent, b""
        return LentSocket(sock, is_encrypted, self._reader, self._is_client, self._write_deadline_seconds, unsent)

    def take_back(self, *, unsent: bytes, last_received: float, peer_close: ConnectionClosedError | None) -> None:
        """End the loan: `unsent` is what is half out or waits; `peer_close` is how the peer left, if it did.

        The peer's close frame is answered here.
        """
        self._unsent = unsent
        self.last_received = last_received
        if peer_close is None:
            return
        if peer_close.code != 1006:
            with contextlib.suppress(SocketError):
                self._send_close(frames.sendable_close_code(peer_close.code), "", with_farewell=False)
        self._note_peer_close(peer_close)

    # --- Ending

    def close(self, code: int = 1000, reason: str = "", timeout: float = 1.0) -> None:
        """Say goodbye, wait up to `timeout` seconds for the peer's close frame, and end the connection.

        May be called again and from any thread; never raises.
        """
        if self._sock is None:
            return
        try:
            self._peer_gone = threading.Event()
            self._send_close(frames.sendable_close_code(code), reason)
            if self._peer_close is None and timeout > 0:
                self._await_peer_close(timeout)
        except (SocketError, TimeoutError):
            pass  # gone is what we wanted
        self.abort()

    def refuse(self, error: FrameError) -> None:
        """Close with the error's code because the peer broke the protocol, and let the peer read it; never raises.

        What the peer still sends is read and thrown away for a moment: closing a socket with unread bytes in it
        resets the connection, and the reset would overtake our close frame.
        """
        self._peer_close = self._peer_close or ConnectionClosedError(error.code, error.reason)
        sock = self._sock
        with contextlib.suppress(SocketError, OSError):
            self._send_close(error.code, error.reason)
            deadline = time.monotonic() + LINGER_SECONDS
            if sock is not None:
                sock.shutdown(socket.SHUT_WR)  # that was all; the peer need not wait for more
            while sock is not None and (left := deadline - time.monotonic()) > 0:
                sock.settimeout(left)
                if not sock.recv(READ_BYTES):
                    break
        self.abort()

    def _send_close(self, code: int, reason: str, *, with_farewell: bool = True) -> None:
        if self._close_sent:
            return
        self._close_sent = True
        last_words = b""
        if with_farewell and self.farewell is not None and code != 1000:
            message = self.farewell(code, reason)
            last_words = frames.build_frame(TEXT, message, mask=self._is_client) if message else b""
        close = frames.build_frame(CLOSE, frames.build_close_payload(code, reason), mask=self._is_client)
        self._write(last_words + close)

    def _await_peer_close(self, timeout: float) -> None:
        if self._reading and self._peer_gone is not None:
            self._peer_gone.wait(timeout)
            return
        deadline = time.monotonic() + timeout
        while True:
            self._receive(deadline)

    def _note_peer_close(self, closed: ConnectionClosedError) -> None:
        self._peer_close = self._peer_close or closed
        if self._peer_gone is not None:
            self._peer_gone.set()
        if self._close_sent:
            self.abort()

    def abort(self) -> None:
        """End the TCP connection at once, without a close frame; never raises."""
        sock, self._sock = self._sock, None
        self._close_sent = True
        if sock is None:
            return
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # also ends a read in another thread, and a duplicate of the socket
        with contextlib.suppress(OSError):
            sock.close()
        if self.on_end is not None:
            self.on_end()

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._sock is not None and not self._close_sent

    @property
    def peer_close(self) -> ConnectionClosedError | None:
        """How the peer has ended it; None if it has not, or not in time."""
        return self._peer_close

    def _open_socket(self) -> socket.socket:
        if self._sock is None:
            raise self._peer_close or ConnectionClosedError(1006, "the connection is closed")
        return self._sock
