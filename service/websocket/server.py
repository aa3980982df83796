"""Taking a WebSocket over from flask-sock once its handshake is done.

The key decision: simple-websocket answers the upgrade and is then set aside, before its reader thread (no
backpressure) has started and before its `send()` (partial under gevent) is ever used.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from service.errors import RequestError
from service.websocket.client_handshake import accept_value
from service.websocket.connection import WebSocketConnection

StartResponse = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
ANSWER_SECONDS = 5.0
"""A client that has asked much before on this connection, and read nothing, may leave no room for the answer."""

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64


class Handshaken(Protocol):
    """What `take_over` needs: an `UpgradedSocket`, or a `simple_websocket.Server` (which has no types)."""

    sock: socket.socket
    connected: bool
    subprotocol: str | None


class UpgradedSocket:
    """The answer to an upgrade, made by flask-sock in place of a `simple_websocket.Server`; for gunicorn only.

    It checks what RFC 6455 section 4.2.1 asks of a request, and keeps nothing of it. simple-websocket puts the headers
    together again for h11 to parse and wsproto to check: four times the CPU of this, and objects that stay as long as
    the conversation.

    Raises:
        RequestError: the request is not one for a WebSocket; nothing was answered yet.
    """

    mode = "gunicorn"  # read by flask-sock, which then tells gunicorn that the connection is none of its business

    def __init__(self, environ: Mapping[str, Any], *, subprotocols: Sequence[str] = (), **_: object) -> None:
        accept = accept_value(_checked_key(environ))
        offered = (name.strip() for name in environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(","))
        self.subprotocol = next((name for name in offered if name in subprotocols), None)
        self.sock: socket.socket = environ["gunicorn.socket"]
        chosen = f"Sec-WebSocket-Protocol: {self.subprotocol}\r\n" if self.subprotocol else ""
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.sendall(_SWITCHING % (accept, chosen.encode()))
        self.connected = True

    def close(self) -> None:
        """Nothing: whoever took the socket over has closed it. flask-sock calls this behind the handler."""


_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n%b\r\n"
)


def _checked_key(environ: Mapping[str, Any]) -> bytes:
    connection = (option.strip().lower() for option in environ.get("HTTP_CONNECTION", "").split(","))
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    if (
        environ.get("REQUEST_METHOD") != "GET"
        or environ.get("SERVER_PROTOCOL") != "HTTP/1.1"
        or "upgrade" not in connection
        or environ.get("HTTP_UPGRADE", "").strip().lower() != "websocket"
        or not environ.get("HTTP_HOST")
        or environ.get("HTTP_SEC_WEBSOCKET_VERSION", "").strip() != "13"
        or not _KEY.fullmatch(key)
    ):
        raise RequestError("This is not a WebSocket upgrade.")
    return bytes(key, "ascii")


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
    """The connection behind an `UpgradedSocket`, or a `simple_websocket.Server` made with `SERVER_OPTIONS`."""
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
