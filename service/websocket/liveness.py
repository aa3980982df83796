"""Whether a connection that lies idle is still there: nobody has closed it, and nothing has come that nobody asked for.

The key decision: the socket is read, without waiting, and not only polled. Behind a TLS 1.3 handshake there are tickets
to be read, which make a healthy connection look like one that its server has ended; and `poll` gives way to every other
greenlet first.
"""

from __future__ import annotations

import socket
import ssl

_NOTHING_THERE = (BlockingIOError, ssl.SSLWantReadError)


def is_quiet(sock: socket.socket) -> bool:
    """Whether `sock` is connected and silent; call it only for one that nobody uses and that nothing is awaited on."""
    if sock.fileno() < 0:
        return False
    timeout = sock.gettimeout()
    try:
        sock.settimeout(0.0)
        if hasattr(sock, "pending"):  # not every TLS socket is an `ssl.SSLSocket`: gevent has its own
            sock.recv(1)  # takes the tickets; a byte of data is lost by it, but then the connection is of no use anyway
        else:
            sock.recv(1, socket.MSG_PEEK)
    except _NOTHING_THERE:
        return True
    except OSError:
        return False
    finally:
        sock.settimeout(timeout)
    return False  # the peer has closed, or said what nobody asked for
