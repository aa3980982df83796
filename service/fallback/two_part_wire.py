"""How two processes of ours hand each other a message of two parts, a head and what it is about.

The key decision: both lengths come first and are bounded, and everything has a deadline (of `time.monotonic`): each
side reads exactly what was announced, or gives the connection up.
"""

from __future__ import annotations

import socket
import struct
import time

LENGTHS = struct.Struct(">II")
"""Of the head and of the body, in bytes."""

_ONCE_BYTES = 65_536


class BrokenError(Exception):
    """The other side is gone, or sent what cannot be right: the connection is of no more use."""


def send_parts(connection: socket.socket, head: bytes, body: bytes, deadline: float) -> None:
    """Send a message.

    Raises:
        BrokenError: the other side is gone.
        TimeoutError: it did not take the bytes in time.
    """
    connection.settimeout(_left(deadline))
    try:
        connection.sendall(LENGTHS.pack(len(head), len(body)) + head + body)
    except TimeoutError:
        raise
    except OSError as exc:
        raise BrokenError from exc


def receive_parts(
    connection: socket.socket, deadline: float, *, most_head_bytes: int, most_body_bytes: int
) -> tuple[bytes, bytes]:
    """Receive a message.

    Raises:
        BrokenError: the other side is gone, or announces more than there may be.
        TimeoutError: it did not come in time.
    """
    head_bytes, body_bytes = LENGTHS.unpack(_receive_exactly(connection, LENGTHS.size, deadline))
    if head_bytes > most_head_bytes or body_bytes > most_body_bytes:
        raise BrokenError
    return _receive_exactly(connection, head_bytes, deadline), _receive_exactly(connection, body_bytes, deadline)


def _receive_exactly(connection: socket.socket, count: int, deadline: float) -> bytes:
    received = bytearray()
    while len(received) < count:
        connection.settimeout(_left(deadline))
        try:
            part = connection.recv(min(_ONCE_BYTES, count - len(received)))
        except TimeoutError:
            raise
        except OSError as exc:
            raise BrokenError from exc
        if not part:
            raise BrokenError
        received += part
    return bytes(received)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
