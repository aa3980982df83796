"""The alignment of one answer: which characters its voice had spoken by when.

The key decision: what stands around a message's sound is put aside as it came, and parsed when somebody asks, or when
it gets too much. Nearly all answers end without anybody asking before their end.
"""

from __future__ import annotations

from array import array
from typing import Any

import orjson

MAX_UNREAD_BYTES = 65_536
MAX_CHARACTERS = 50_000
"""Of one answer; behind them only the time counts."""

_ROUNDING_SECONDS = 1e-3
_COUNTS_ON = 0.7


class Alignment:
    """What a voice told of its characters; all times are seconds of the answer's own sound."""

    __slots__ = ("_middles", "_pieces", "_unread", "_unread_bytes")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._middles = array("d")  # one for each character of the pieces
        self._unread: list[tuple[float, float, bytes]] = []
        self._unread_bytes = 0

    def add(self, message: bytes, *, begin: float, seconds: float) -> None:
        """Take a message of audio without its sound, which begins at `begin` and is `seconds` long."""
        if len(self._middles) < MAX_CHARACTERS:
            self._unread.append((begin, seconds, message))
            self._unread_bytes += len(message)
            if self._unread_bytes > MAX_UNREAD_BYTES:
                self._read()

    def characters(self) -> str:
        """All characters that were told of."""
        self._read()
        return "".join(self._pieces)

    def spoken_by(self, seconds: float) -> str:
        """The characters of which at least half was spoken by then."""
        self._read()
        limit = seconds + _ROUNDING_SECONDS
        told = "".join(self._pieces)
        if self._middles and max(self._middles) <= limit:
            return told
        return "".join(character for character, middle in zip(told, self._middles, strict=True) if middle <= limit)

    def _read(self) -> None:
        unread, self._unread, self._unread_bytes = self._unread, [], 0
        for begin, seconds, message in unread:
            characters = _characters_of(message)
            # Times count from the message's begin; those of a voice that counts from the answer's begin lie beyond it.
            counts_on = bool(characters) and characters[0][1] > max(seconds, _COUNTS_ON * begin)
            self._pieces.append("".join(character for character, _ in characters))
            for character, middle in characters:
                self._middles.extend([middle if counts_on else begin + middle] * len(character))


def _characters_of(message: bytes) -> list[tuple[str, float]]:
    """Each character of a message's alignment, and the second (from the message's begin) of its middle."""
    try:
        alignment: Any = orjson.loads(message)["audio_event"]["alignment"]
        return [
            (str(character), (start + duration / 2) / 1000)
            for character, start, duration in zip(
                alignment["chars"], alignment["char_start_times_ms"], alignment["char_durations_ms"], strict=False
            )
        ]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []  # none, or one in a shape that is not known: then the time tells
