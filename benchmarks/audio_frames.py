"""Audio messages of the Agents protocol that carry their number and the time at which they were sent.

The key decision: the stamp is the first 18 bytes of the audio itself, 24 characters of base64 at a known place. So a
stamped message is a real one in every respect, and reading the stamp costs a slice and a microsecond.
"""

from __future__ import annotations

import binascii
import itertools
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from service.websocket.frames import TEXT, build_frame

_STAMP = struct.Struct(">QQ2x")
_STAMP_CHARACTERS = 24
_UNSTAMPED = b"A" * _STAMP_CHARACTERS


@dataclass(frozen=True)
class Direction:
    """How audio travels one way: what stands around it, how many characters it has, and how often it comes.

    `sizes` are characters of base64, taken in turn; `rate` is messages a second in a conversation.
    """

    name: str
    prefix: bytes
    suffix: bytes
    sizes: Sequence[int]
    rate: float
    masked: bool

    def stamped(self, number: int) -> bytes:
        """The frame of message `number` (from 1), stamped with this moment."""
        stamp = binascii.b2a_base64(_STAMP.pack(number, time.monotonic_ns()), newline=False)
        return self._frame(stamp, self.sizes[number % len(self.sizes)])

    def unstamped(self, count: int) -> bytes:
        """`count` frames without a stamp, to be sent again and again."""
        return b"".join(self._frame(_UNSTAMPED, size) for size in itertools.islice(itertools.cycle(self.sizes), count))

    def is_audio(self, head: bytes) -> bool:
        """Whether a payload that begins with `head` is audio."""
        return head.startswith(self.prefix)

    def read_stamp(self, head: bytes) -> tuple[int, int] | None:
        """Number and time (monotonic nanoseconds) of an audio payload that begins with `head`; None if unstamped."""
        stamp = head[len(self.prefix) : len(self.prefix) + _STAMP_CHARACTERS]
        if stamp == _UNSTAMPED:
            return None
        number, sent = _STAMP.unpack(binascii.a2b_base64(stamp))
        return number, sent

    def _frame(self, stamp: bytes, size: int) -> bytes:
        filler = b"QUFB" * ((size - _STAMP_CHARACTERS) // 4)
        return build_frame(TEXT, b"".join((self.prefix, stamp, filler, self.suffix)), mask=self.masked)


UP = Direction(
    name="up",
    prefix=b'{"user_audio_chunk":"',
    suffix=b'"}',
    # 250 ms of 16 kHz PCM, what the Python SDK sends.
    sizes=(10_668,),
    rate=4.0,
    masked=True,
)
DOWN = Direction(
    name="down",
    prefix=b'{"audio_event":{"audio_base_64":"',
    suffix=b'","event_id":1},"type":"audio"}',
    # ElevenLabs documents no size, and its chunks differ.
    sizes=(4096, 8192, 16_384, 4096, 8192, 12_288),
    rate=6.0,
    masked=False,
)
