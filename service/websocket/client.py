"""Opening a WebSocket as a client.

The key decision: the handshake is ours too (`client_handshake.py`), over a plain socket of the standard library, so
that it works under gevent and with threads, costs a third of a library's, and bytes behind the answer's head stay ours.
Library clients may hold a frame that came in the same segment as the 101 for 1 to 3 seconds (docs/architecture.md,
traps).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from service import addresses
from service.errors import HandshakeError, UnansweredError
from service.websocket import tls_sessions
from service.websocket.client_handshake import (
    SocketAddress,
    build_request,
    is_switching,
    new_key,
    parse_url,
    read_refusal,
    read_switch,
)
from service.websocket.connection import WebSocketConnection

MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = 65_536
_READ_BYTES = 16_384


def connect(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    connect_seconds: float = 5.0,
    ssl_context: ssl.SSLContext | None = None,
    write_deadline_seconds: float = 5.0,
    max_message_bytes: int = 16 * 1024 * 1024,
) -> WebSocketConnection:
    """Connect to a `ws:` or `wss:` URL within `connect_seconds` in all (TCP, TLS and upgrade): `dial` and `upgrade`.

    `ssl_context` is needed for `wss:` and meant to be shared: making one costs 15-19 ms of CPU.

    Raises:
        HandshakeError: the server answered, but not with a proper 101.
        TimeoutError: it took too long.
        OSError: no connection (refused, unreachable, TLS failure).
        ValueError: a URL, header or subprotocol that cannot be used.
    """
    asked = _Upgrade.to(url, headers, subprotocols)
    deadline = time.monotonic() + connect_seconds
    sock = _open_socket(asked.address, ssl_context, deadline)
    return asked.on(sock, deadline, write_deadline_seconds=write_deadline_seconds, max_message_bytes=max_message_bytes)


def dial(url: str, *, connect_seconds: float = 5.0, ssl_context: ssl.SSLContext | None = None) -> socket.socket:
    """A TCP connection, with TLS for `wss:`, to where `url` leads, for an `upgrade` later; raises as `connect`."""
    return _open_socket(parse_url(url), ssl_context, time.monotonic() + connect_seconds)


def open_tcp(host: str, port: int, *, seconds: float) -> tuple[socket.socket, float]:
    """A TCP connection within `seconds`, the look-up of the name included, and the seconds that are left of them.

    Raises:
        TimeoutError: it took too long.
        OSError: no connection.
    """
    deadline = time.monotonic() + seconds
    sock = _connect(host, port, deadline)
    return sock, max(0.0, deadline - time.monotonic())


def upgrade(
    sock: socket.socket,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    upgrade_seconds: float = 5.0,
    write_deadline_seconds: float = 5.0,
    max_message_bytes: int = 16 * 1024 * 1024,
) -> WebSocketConnection:
    """Make `sock`, a connection that was dialled to the host of `url`, the WebSocket at `url`; closes it if it fails.

    Raises:
        UnansweredError: the connection had ended before a byte of the answer came.
        Exception: as `connect`.
    """
    try:
        asked = _Upgrade.to(url, headers, subprotocols)
    except BaseException:  # whatever it is, the socket is not handed out
        sock.close()
        raise
    return asked.on(
        sock,
        time.monotonic() + upgrade_seconds,
        write_deadline_seconds=write_deadline_seconds,
        max_message_bytes=max_message_bytes,
    )


@dataclass(frozen=True)
class _Upgrade:
    address: SocketAddress
    key: bytes
    request: bytes
    subprotocols: Sequence[str]

    @classmethod
    def to(cls, url: str, headers: Mapping[str, str] | None, subprotocols: Sequence[str]) -> Self:
        address, key = parse_url(url), new_key()
        return cls(address, key, build_request(address, key, headers=headers, subprotocols=subprotocols), subprotocols)

    def on(
        self, sock: socket.socket, deadline: float, *, write_deadline_seconds: float, max_message_bytes: int
    ) -> WebSocketConnection:
        try:
            _send(sock, self.request, deadline)
            head, rest = _read_head(sock, deadline)
            if not is_switching(head):
                status, found = read_refusal(head)
                raise HandshakeError(status, _read_body(sock, rest, found, deadline), found)
            subprotocol = read_switch(head, self.key, subprotocols=self.subprotocols)
            tls_sessions.keep(sock, (self.address.host, self.address.port))
        except BaseException:  # whatever it is, the socket is not handed out
            sock.close()
            raise
        return WebSocketConnection(
            sock,
            is_client=True,
            write_deadline_seconds=write_deadline_seconds,
            max_message_bytes=max_message_bytes,
            subprotocol=subprotocol,
            received=rest,
        )


def _open_socket(address: SocketAddress, ssl_context: ssl.SSLContext | None, deadline: float) -> socket.socket:
    if address.is_secure and ssl_context is None:
        raise ValueError("a wss: URL needs the shared TLS context")
    sock = _connect(address.host, address.port, deadline)
    if not address.is_secure or ssl_context is None:
        return sock
    try:
        sock.settimeout(_left(deadline))
        return tls_sessions.wrap(sock, ssl_context, (address.host, address.port))
    except BaseException:  # whatever it is, the socket is not handed out
        sock.close()
        raise


def _connect(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection to the first of the host's addresses that takes one; each has its share of the time."""
    failure: OSError = OSError("the host has no address")
    places = addresses.look_up(host, port, seconds=_left(deadline))
    for left_over, (family, place) in zip(range(len(places), 0, -1), places, strict=True):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(_left(deadline) / left_over)
            sock.connect(place)
        except OSError as exc:
            sock.close()
            failure = exc
        except BaseException:  # as above
            sock.close()
            raise
        else:
            return sock
    addresses.forget(host, port)
    try:
        raise failure
    finally:
        del failure  # its traceback holds this frame: a cycle, and with it the closed socket's leftovers


_LOST = (ConnectionError, ssl.SSLError)


def _send(sock: socket.socket, data: bytes, deadline: float) -> None:
    while data:
        sock.settimeout(_left(deadline))
        try:
            data = data[sock.send(data) :]
        except _LOST as exc:
            raise UnansweredError("the server had hung up before the upgrade") from exc


def _read_head(sock: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > MAX_HEAD_BYTES:
            raise HandshakeError(502, b"the answer's head is too long")
        sock.settimeout(_left(deadline))
        piece = _receive(sock, is_first=not data)
        if not piece:
            raise ConnectionResetError("the server hung up during the upgrade")
        data += piece
    return data[: end + 4], data[end + 4 :]


def _receive(sock: socket.socket, *, is_first: bool) -> bytes:
    try:
        piece = sock.recv(_READ_BYTES)
    except _LOST as exc:
        if is_first:
            raise UnansweredError("the server hung up without an answer to the upgrade") from exc
        raise
    if is_first and not piece:
        raise UnansweredError("the server hung up without an answer to the upgrade")
    return piece


def _read_body(sock: socket.socket, data: bytes, headers: Mapping[str, str], deadline: float) -> bytes:
    length = headers.get("content-length", "")
    wanted = min(int(length), MAX_BODY_BYTES) if length.isdigit() else MAX_BODY_BYTES
    with contextlib.suppress(OSError):  # the status is what counts; the body is only its explanation
        while len(data) < wanted:
            sock.settimeout(_left(deadline))
            piece = sock.recv(_READ_BYTES)
            if not piece:
                break
            data += piece
    return data[:wanted]


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the upgrade took too long")
    return left
