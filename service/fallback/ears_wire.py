"""What travels between `LocalEars` and its child: a head of JSON, and for a request the sound.

The key decision: lengths first and bounded, no pickling; each side reads exactly what was announced or gives up.
"""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from service.fallback.two_part_wire import LENGTHS, receive_parts, send_parts

MAX_SOUND_BYTES = 2 * 48_000 * 31
MAX_JSON_BYTES = 1_000_000

Answer = dict[str, Any]
"""`text`, `language`, `language_probability`, `words` ([text, start, end] each); or `error`, a class's name."""


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
    send_parts(connection, head, sound, deadline)


def receive_answer(connection: socket.socket, deadline: float) -> Answer:
    """Receive one answer.

    Raises:
        BrokenError: the child is gone or its answer makes no sense.
        TimeoutError: no answer before `deadline` (of `time.monotonic`).
    """
    head, _ = receive_parts(connection, deadline, most_head_bytes=MAX_JSON_BYTES, most_body_bytes=0)
    answer: Answer = json.loads(head)
    return answer


def read_request(stream: BinaryIO) -> tuple[Request, bytes] | None:
    """Read one request in the child; None when the parent is gone."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head_bytes, sound_bytes = LENGTHS.unpack(lengths)
    if head_bytes > MAX_JSON_BYTES or sound_bytes > MAX_SOUND_BYTES:
        return None
    head, sound = stream.read(head_bytes), stream.read(sound_bytes)
    return (Request(**json.loads(head)), sound) if len(sound) == sound_bytes else None


def write_answer(stream: BinaryIO, answer: Answer) -> None:
    """Write one answer in the child."""
    payload = json.dumps(answer).encode()
    stream.write(LENGTHS.pack(len(payload), 0) + payload)
    stream.flush()
