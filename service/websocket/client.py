"""Opening a WebSocket as a client.

The key decision: `websockets`' sans-I/O protocol builds and checks the handshake over a plain socket of the standard
library, so that it works under gevent and with threads; bytes behind the answer's head stay ours. Library clients
may hold a frame that came in the same segment as the 101 for 1 to 3 seconds (docs/architecture.md, traps).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Mapping, Sequence

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI, parse_uri

from service.errors import HandshakeError
from service.websocket.connection import WebSocketConnection

MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = 65_536


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
    """Connect to a `ws:` or `wss:` URL within `connect_seconds` in all (TCP, TLS and upgrade).

    `ssl_context` is needed for `wss:` and meant to be shared: making one costs 15-19 ms of CPU.

    Raises:
        HandshakeError: the server answered, but not with a proper 101.
        TimeoutError: it took too long.
        OSError: no connection (refused, unreachable, TLS failure).
    """
    uri = parse_uri(url)
    deadline = time.monotonic() + connect_seconds
    sock = _open_socket(uri, ssl_context, deadline)
    try:
        protocol = ClientProtocol(uri, subprotocols=[Subprotocol(name) for name in subprotocols] or None)
        request = protocol.connect()
        for name, value in (headers or {}).items():
            request.headers[name] = value
        protocol.send_request(request)
        sock.settimeout(_left(deadline))
        sock.sendall(b"".join(protocol.data_to_send()))
        head, rest = _read_head(sock, deadline)
        _check_answer(protocol, head, rest, sock, deadline)
    except BaseException:  # whatever it is, the socket is not handed out
        sock.close()
        raise
    return WebSocketConnection(
        sock,
        is_client=True,
        write_deadline_seconds=write_deadline_seconds,
        max_message_bytes=max_message_bytes,
        subprotocol=protocol.subprotocol,
        received=rest,
    )


def _open_socket(uri: WebSocketURI, ssl_context: ssl.SSLContext | None, deadline: float) -> socket.socket:
    sock = socket.create_connection((uri.host, uri.port), timeout=_left(deadline))
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not uri.secure:
            return sock
        if ssl_context is None:
            raise ValueError("a wss: URL needs the shared TLS context")
        sock.settimeout(_left(deadline))
        return ssl_context.wrap_socket(sock, server_hostname=uri.host)
    except BaseException:  # as above
        sock.close()
        raise


def _read_head(sock: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > MAX_HEAD_BYTES:
            raise HandshakeError(502, b"the answer's head is too long")
        sock.settimeout(_left(deadline))
        piece = sock.recv(16_384)
        if not piece:
            raise ConnectionResetError("the server hung up during the upgrade")
        data += piece
    return data[: end + 4], data[end + 4 :]


def _check_answer(protocol: ClientProtocol, head: bytes, rest: bytes, sock: socket.socket, deadline: float) -> None:
    status = head[9:12]
    if status == b"101":
        protocol.receive_data(head)
        problem = protocol.handshake_exc
        if problem is None and protocol.events_received():
            return
        raise HandshakeError(101, str(problem).encode()) from (
            problem if isinstance(problem, InvalidHandshake) else None
        )
    lines = head.decode("latin-1").split("\r\n")[1:]
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    raise HandshakeError(int(status) if status.isdigit() else 502, _read_body(sock, rest, headers, deadline), headers)


def _read_body(sock: socket.socket, data: bytes, headers: Mapping[str, str], deadline: float) -> bytes:
    length = headers.get("content-length", "")
    wanted = min(int(length), MAX_BODY_BYTES) if length.isdigit() else MAX_BODY_BYTES
    with contextlib.suppress(OSError):  # the status is what counts; the body is only its explanation
        while len(data) < wanted:
            sock.settimeout(_left(deadline))
            piece = sock.recv(16_384)
            if not piece:
                break
            data += piece
    return data[:wanted]


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the upgrade took too long")
    return left
