"""TLS for a client's socket, with the session of an earlier connection to the same place taken up again.

The key decision: the ticket of one connection serves those of the next `KEPT_SECONDS` to the same host and port with
the same context. Certificates are then neither sent nor checked: 1.8 of 2.7 ms of CPU with a chain like a public
authority's (docs/performance.md says on which machine). They are checked again when the time is up, or when the server
does not know the ticket any more. Keys are new each time all the same (TLS 1.3, psk_dhe_ke). That somebody who listens
can tell which connections belong together (RFC 8446, appendix C.4) is plain from our address too.
"""

from __future__ import annotations

import socket
import ssl
import time

KEPT_SECONDS = 600.0
"""After this a certificate that was withdrawn or has expired is noticed at the latest."""

MAX_SESSIONS = 64

Place = tuple[str, int]

_kept: dict[tuple[ssl.SSLContext, Place], tuple[float, ssl.SSLSession]] = {}


def wrap(sock: socket.socket, context: ssl.SSLContext, place: Place) -> ssl.SSLSocket:
    """`sock`, connected to `place`, after the TLS handshake; its timeout bounds each wait.

    Raises:
        OSError: the handshake failed; the next one does without a session.
    """
    until, session = _kept.get((context, place), (0.0, None))
    if time.monotonic() >= until:
        session = None
    try:
        return context.wrap_socket(sock, server_hostname=place[0], session=session)
    except OSError:
        _kept.pop((context, place), None)
        raise


def keep(sock: socket.socket, place: Place) -> None:
    """Keep the ticket of `sock` if its server has shown its certificate; in TLS 1.3 it comes with the first data."""
    if not isinstance(sock, ssl.SSLSocket) or sock.session_reused:
        return
    session = sock.session
    if session is None or not session.has_ticket:
        return
    if len(_kept) >= MAX_SESSIONS:
        _kept.clear()
    _kept[sock.context, place] = (time.monotonic() + KEPT_SECONDS, session)
