"""What travels between a worker and the process that judges: a head of JSON, and the messages of one answer.

The key decision: no pickling; one question at a time on a connection, so that an answer can
be nobody else's. An answer has numbers and words of ours only, and by which name of the worker's they are to be kept.
"""

from __future__ import annotations

import socket
from dataclasses import asdict
from typing import Any

import orjson

from service.audio_quality.judge import Score, Verdict
from service.audio_quality.sample import AnswerName, Sample
from service.fallback.two_part_wire import BrokenError, receive_parts, send_parts
from service.metrics_quality import Defect

MAX_HEAD_BYTES = 200_000
MAX_SOUND_BYTES = 8_000_000


def write_sample(connection: socket.socket, sample: Sample, deadline: float) -> None:
    """Send an answer that is to be judged; `deadline` is of `time.monotonic`.

    Raises:
        BrokenError, TimeoutError.
    """
    fields = asdict(sample)
    fields["messages"] = [len(message) for message in sample.messages]
    _write(connection, orjson.dumps(fields), b"".join(sample.messages), deadline)


def read_sample(connection: socket.socket, deadline: float) -> Sample:
    """Receive one. Raises as `write_sample`."""
    head, sound = _read(connection, deadline)
    try:
        fields: dict[str, Any] = orjson.loads(head)
        messages, begin = [], 0
        for length in fields["messages"]:
            messages.append(sound[begin : begin + length])
            begin += length
        return Sample(**{**fields, "messages": tuple(messages), "answer": _answer_in(fields)})
    except (orjson.JSONDecodeError, TypeError, KeyError) as exc:
        raise BrokenError from exc


def write_verdict(connection: socket.socket, verdict: Verdict | None, *, with_models: bool, deadline: float) -> None:
    """Send what was found; None: the sound could not be read. Raises as `write_sample`."""
    answer: dict[str, Any] = {"with_models": with_models, "verdict": None}
    if verdict is not None:
        answer["verdict"] = {
            "defects": sorted(verdict.defects),
            "scores": [asdict(score) for score in verdict.scores],
            "will_be_scored": verdict.will_be_scored,
        }
    _write(connection, orjson.dumps(answer), b"", deadline)


def read_verdict(connection: socket.socket, deadline: float) -> tuple[Found | None, bool]:
    """Receive what was found (None: it could not be read), and whether models score. Raises as `write_sample`."""
    head, _ = _read(connection, deadline)
    try:
        answer: dict[str, Any] = orjson.loads(head)
        verdict = answer["verdict"]
        found = None if verdict is None else Found(verdict)
        return found, bool(answer["with_models"])
    except (orjson.JSONDecodeError, TypeError, KeyError, ValueError) as exc:
        raise BrokenError from exc


class Found:
    """A verdict without what was measured."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.defects = frozenset(Defect(text) for text in fields["defects"])
        self.scores = tuple(Score(**{**score, "answer": _answer_in(score)}) for score in fields["scores"])
        self.will_be_scored = bool(fields["will_be_scored"])


def _answer_in(fields: dict[str, Any]) -> AnswerName | None:
    return None if fields["answer"] is None else AnswerName(**fields["answer"])


def _write(connection: socket.socket, head: bytes, sound: bytes, deadline: float) -> None:
    if len(head) > MAX_HEAD_BYTES or len(sound) > MAX_SOUND_BYTES:
        raise BrokenError
    send_parts(connection, head, sound, deadline)


def _read(connection: socket.socket, deadline: float) -> tuple[bytes, bytes]:
    return receive_parts(connection, deadline, most_head_bytes=MAX_HEAD_BYTES, most_body_bytes=MAX_SOUND_BYTES)
