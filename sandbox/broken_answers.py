"""Break an HTTP answer on its way out as a fault says: late, hanging, cut off, or noise.

The key decision: a cut is a real one. The TCP connection is ended in the middle of the answer, without the closing
chunk, so that a client sees what it would see when a load balancer or a network dies.
"""

from __future__ import annotations

import errno
import random
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from flask import Response

from sandbox.faults import Fault


def break_answer(
    response: Response, fault: Fault, connection: socket.socket | None, *, seed: int, speaks: bool
) -> None:
    """Let `fault` happen to `response`; `connection` is the request's TCP connection if the server tells it.

    An answer that `speaks` has been silenced or truncated where the sound was made, so that it ends in order.
    """
    if fault.garbage:
        response.response = _noise(response.iter_encoded(), random.Random(seed))  # noqa: S311
    if fault.truncate is not None and not speaks:
        body = response.get_data()
        response.set_data(body[: int(len(body) * fault.truncate)])
    if fault.hang is not None or fault.drop_after_bytes is not None or fault.drop_after_frames is not None:
        response.response = _cut_short(response.iter_encoded(), fault, connection)


def _noise(chunks: Iterable[bytes], dice: random.Random) -> Iterator[bytes]:
    return (dice.randbytes(len(chunk)) for chunk in chunks)


def _cut_short(chunks: Iterable[bytes], fault: Fault, connection: socket.socket | None) -> Iterator[bytes]:
    if fault.drop_after_bytes is not None:
        yield from _first_bytes(chunks, fault.drop_after_bytes)
    elif fault.drop_after_frames is not None:
        yield from (chunk for chunk, _ in zip(chunks, range(fault.drop_after_frames), strict=False))
    time.sleep(fault.hang or 0)
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionResetError(errno.ECONNRESET, "cut off by a fault rule")


def _first_bytes(chunks: Iterable[bytes], wanted: int) -> Iterator[bytes]:
    for chunk in chunks:
        if wanted <= 0:
            return
        yield chunk[:wanted]
        wanted -= len(chunk)
