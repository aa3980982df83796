"""What travels between `LocalEars` and its child: a length, JSON of that length, and for a request the sound.

The key decision: lengths first and bounded, no pickling; each side reads exactly what was announced or gives up.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

_LENGTHS = struct.Struct(">II")
MAX_SOUND_BYTES = 2 * 48_000 * 31
MAX_JSON_BYTES = 1_000_000

Answer = dict[str, Any]
"""`text`, `language`, `language_probability`, `words` ([text, start, end] each); or `error`, a class's name."""


class BrokenError(Exception):
    """The other side is gone or sent what cannot be right; the pair of sockets is of no more use."""


@dataclass(frozen=True)
class Request:
    """What to do with the sound that follows."""

    sample_rate: int
    language: str | None
    with_words: bool


def send_request(connection: socket.socket, request: Request, pcm: bytes, deadline: float) -> None:
    """Send one request with its sound, cut at 30 s.

    Raises:
        BrokenError: the child is gone.
        TimeoutError: it did not take the bytes before `deadline` (of `time.monotonic`).
    """
    head = json.dumps(asdict(request)).encode()
    sound = pcm[: 2 * request.sample_rate * 30]
    connection.settimeout(_left(deadline))
    try:
        connection.sendall(_LENGTHS.pack(len(head), len(sound)) + head + sound)
    except TimeoutError:
        raise
    except OSError as exc:
        raise BrokenError from exc


def receive_answer(connection: socket.socket, deadline: float) -> Answer:
    """Receive one answer.

    Raises:
        BrokenError: the child is gone or its answer makes no sense.
        TimeoutError: no answer before `deadline` (of `time.monotonic`).
    """
    head_bytes, _ = _LENGTHS.unpack(_receive_exactly(connection, _LENGTHS.size, deadline))
    if head_bytes > MAX_JSON_BYTES:
        raise BrokenError
    answer: Answer = json.loads(_receive_exactly(connection, head_bytes, deadline))
    return answer


def read_request(stream: BinaryIO) -> tuple[Request, bytes] | None:
    """Read one request in the child; None when the parent is gone."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_bytes, sound_bytes = _LENGTHS.unpack(lengths)
    if head_bytes > MAX_JSON_BYTES or sound_bytes > MAX_SOUND_BYTES:
        return None
    head, sound = stream.read(head_bytes), stream.read(sound_bytes)
    return (Request(**json.loads(head)), sound) if len(sound) == sound_bytes else None


def write_answer(stream: BinaryIO, answer: Answer) -> None:
    """Write one answer in the child."""
    payload = json.dumps(answer).encode()
    stream.write(_LENGTHS.pack(len(payload), 0) + payload)
    stream.flush()


def _receive_exactly(connection: socket.socket, count: int, deadline: float) -> bytes:
    received = bytearray()
    while len(received) < count:
        connection.settimeout(_left(deadline))
        try:
            part = connection.recv(count - len(received))
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
