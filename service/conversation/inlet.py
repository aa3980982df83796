"""The buffer that every socket of the process is read into, and how it is filled.

The key decision: one buffer for all. Nothing switches between a read and the use of what was read; what is left of a
frame then is copied away (`FrameParser.keep`), so an idle conversation holds no buffer. In front of where reads begin
there is room for such a rest, so that it and the next read make one piece without moving the read.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

READ_BYTES = 131_072
"""Twice of 65,536 bytes spares a fifth of the CPU of a flood; twice as much again next to nothing."""

ROOM = 65_536
_TLS_RECORD_BYTES = 16_384

buffer = bytearray(ROOM + READ_BYTES)
_read = memoryview(buffer)[ROOM:]


def receiver(sock: socket.socket, *, is_encrypted: bool) -> Callable[[], int]:
    """What reads from `sock` to `buffer[ROOM:]`, and returns how much; it raises as `recv_into`."""
    if is_encrypted:
        return partial(_receive_records, sock)
    return partial(unwrapped(sock).recv_into, _read)


def unwrapped(sock: socket.socket) -> socket.socket:
    """The socket inside one of gevent's, whose methods are functions of Python around this one's: 1 to 3 µs a frame."""
    inside: socket.socket = getattr(sock, "_sock", sock)
    return inside


def _receive_records(sock: socket.socket) -> int:
    """As many records as are there and fit: each read gives one at most.

    OpenSSL takes them from the kernel one by one, so what is left behind is where the loop sees it.
    """
    count = received = sock.recv_into(_read, _TLS_RECORD_BYTES)
    while received == _TLS_RECORD_BYTES and count <= READ_BYTES - _TLS_RECORD_BYTES:
        try:
            received = sock.recv_into(_read[count:], _TLS_RECORD_BYTES)
        except OSError:  # nothing more just now; an error comes again with the next read
            break
        count += received
    return count
