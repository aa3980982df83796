"""Taking a WebSocket over from flask-sock once its handshake is done.

The key decision: simple-websocket answers the upgrade and is then set aside, before its reader thread (no
backpressure) has started and before its `send()` (partial under gevent) is ever used.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from service.websocket.connection import WebSocketConnection

StartResponse = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Handshaken(Protocol):
    """What is used of a `simple_websocket.Server` (the library has no types)."""

    sock: socket.socket
    connected: bool
    subprotocol: str | None


class _NoThread:
    """Stands where simple-websocket would start its reader thread."""

    def __init__(self, **_: object) -> None:
        self.name = ""

    def start(self) -> None:
        """Nothing: `take_over` reads from the socket itself."""


SERVER_OPTIONS: dict[str, Any] = {"thread_class": _NoThread}
"""For `app.config["SOCK_SERVER_OPTIONS"]`; add `subprotocols`, of which only an offered one is ever echoed."""


class WithoutCompression:
    """WSGI middleware that removes the client's offer of permessage-deflate before flask-sock can accept it.

    Accepting costs 330-410 µs of CPU for each audio frame, and lets 522 kB on the wire become 1072 MB.
    """

    def __init__(self, app: WsgiApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        return self._app(environ, start_response)


def take_over(
    handshaken: Handshaken, *, write_deadline_seconds: float = 5.0, max_message_bytes: int = 1024 * 1024
) -> WebSocketConnection:
    """The connection behind a `simple_websocket.Server` that was made with `SERVER_OPTIONS`."""
    handshaken.connected = False  # so that flask-sock does not write a second close frame behind ours
    sock = handshaken.sock
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return WebSocketConnection(
        sock,
        is_client=False,
        write_deadline_seconds=write_deadline_seconds,
        max_message_bytes=max_message_bytes,
        subprotocol=handshaken.subprotocol,
    )
