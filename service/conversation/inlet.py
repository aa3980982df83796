"""The buffer that every socket of the process is read into, and how it is filled.

The key decision: one buffer for all. Nothing switches between a read and the use of what was read; what is left of a
frame then is copied away (`FrameParser.keep`), so an idle conversation holds no buffer. In front of where reads begin
there is room for such a rest, so that it and the next read make one piece without moving the read.
"""

from __future__ import annotations

import socket

READ_BYTES = 65_536
ROOM = 65_536
_TLS_RECORD_BYTES = 16_384

buffer = bytearray(ROOM + READ_BYTES)
_view = memoryview(buffer)
_read = _view[ROOM:]


def receive(sock: socket.socket) -> int:
    """Read once, to `buffer[ROOM:]`, and return how much; raises as `recv_into`."""
    return sock.recv_into(_read)


def receive_records(sock: socket.socket) -> int:
    """Read a TLS socket's records, as many as are there and fit.

    Each read gives one record at most; what is behind it stays where the loop does not see it only if it was read from
    the kernel, which OpenSSL does record by record.
    """
    count = received = sock.recv_into(_read, _TLS_RECORD_BYTES)
    while received == _TLS_RECORD_BYTES and count <= READ_BYTES - _TLS_RECORD_BYTES:
        try:
            received = sock.recv_into(_read[count:], _TLS_RECORD_BYTES)
        except OSError:  # nothing more just now; an error comes again with the next read
            break
        count += received
    return count
