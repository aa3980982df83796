"""Small questions asked of a server: does it listen, does it answer, is the port free."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

PROBE_SECONDS = 2.0


def accepts(address: str | tuple[str, int]) -> bool:
    """Tell whether something accepts connections at a Unix socket's path or at (host, port)."""
    if isinstance(address, str):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix:
            unix.settimeout(PROBE_SECONDS)
            return unix.connect_ex(address) == 0
    try:
        with socket.create_connection(address, timeout=PROBE_SECONDS):
            return True
    except OSError:
        return False


def answers(url: str) -> bool:
    """Tell whether a GET of `url` (http, no redirects followed) is answered with 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
