"""A connection to ElevenLabs on which nothing was asked yet: TCP and TLS stand, the upgrade is left."""

from __future__ import annotations

import socket
import ssl
import time

from service.deadline import within_deadline
from service.websocket import WebSocketConnection, dial, is_quiet, upgrade
from service.websocket.client_handshake import parse_url

Place = tuple[bool, str, int]
"""Whether it is encrypted, host and port."""


def place_of(url: str) -> Place:
    """Where a `ws:` or `wss:` URL leads."""
    address = parse_url(url)
    return address.is_secure, address.host, address.port


class PreparedConnection:
    """Room for a connection that is dialled within `connect_seconds`, by `dial`."""

    __slots__ = ("_connect_seconds", "_left_seconds", "has_waited", "place", "sock")

    def __init__(self, connect_seconds: float) -> None:
        self._connect_seconds = self._left_seconds = connect_seconds
        self.sock: socket.socket | None = None
        self.place: Place | None = None
        self.has_waited = False

    def dial(self, url: str, tls_context: ssl.SSLContext | None) -> None:
        """Be a new connection to where `url` leads; the one of before, if there was one, is ended.

        Raises:
            OSError: it could not be dialled.
        """
        self.close()
        started = time.monotonic()
        connect_seconds = within_deadline(self._connect_seconds)
        self.sock = dial(url, connect_seconds=connect_seconds, ssl_context=tls_context)
        self.place = place_of(url)
        self.has_waited = False
        self._left_seconds = self._connect_seconds - (time.monotonic() - started)

    def upgrade(self, url: str, *, write_deadline_seconds: float, max_message_bytes: int) -> WebSocketConnection:
        """Make it the WebSocket at `url`, which leads to where it was dialled; raises as `service.websocket.upgrade`.

        Who has waited from the dialling on waits for `connect_seconds` in all.
        """
        if self.sock is None:
            raise RuntimeError("the connection was not dialled")
        return upgrade(
            self.sock,
            url,
            upgrade_seconds=within_deadline(self._connect_seconds if self.has_waited else self._left_seconds),
            write_deadline_seconds=write_deadline_seconds,
            max_message_bytes=max_message_bytes,
        )

    def is_healthy(self) -> bool:
        """Whether it is still there, having lain idle; a server that ended it a moment ago is not noticed."""
        if self.sock is None:
            return True
        self.has_waited = True
        return is_quiet(self.sock)

    def hand_over(self) -> None:
        """The socket is somebody else's now."""
        self.sock = self.place = None

    def close(self) -> None:
        """End it; the socket may have been ended already."""
        if self.sock is not None:
            self.sock.close()
