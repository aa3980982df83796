"""Audio messages of the Agents protocol that carry their number and the time at which they were sent.

The key decision: the stamp is the first 18 bytes of the audio itself, 24 characters of base64 at a known place. So a
stamped message is a real one in every respect, and reading the stamp costs a slice and a microsecond. Frames of a
direction are made once; a message is one of them with its stamp exchanged.
"""

from __future__ import annotations

import binascii
import itertools
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from websockets.speedups import apply_mask

from benchmarks.generator.frames import TEXT, build_frame

BLOCK_FRAMES = 24
"""Frames of a flood's block, a multiple of every direction's cycle of sizes; they are numbered from 1."""

MASK = b"\x37\xfa\x21\x3d"
"""Of all the clients' frames: one that never changes lets a frame be made once, and costs its receivers the same."""

_STAMP = struct.Struct(">QQ2x")
_STAMP_CHARACTERS = 24


def _stamp(number: int, nanoseconds: int) -> bytes:
    return binascii.b2a_base64(_STAMP.pack(number, nanoseconds), newline=False)


_UNTIMED = tuple(_stamp(number, 0) for number in range(1, BLOCK_FRAMES + 1))


@dataclass
class _Template:
    """A frame whose stamp is exchanged: where it stands, and the mask's bytes from there on."""

    frame: bytearray
    place: slice
    mask: bytes


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
    _templates: dict[int, _Template] = field(default_factory=dict, compare=False)

    def stamped(self, number: int) -> bytearray:
        """The frame of message `number` (from 1), stamped with this moment; valid until the next call."""
        template = self._template(self.sizes[number % len(self.sizes)])
        stamp = _stamp(number, time.monotonic_ns())
        template.frame[template.place] = apply_mask(stamp, template.mask) if self.masked else stamp
        return template.frame

    def block(self) -> bytes:
        """Frames numbered but not timed, to be sent again and again as fast as they are taken."""
        sizes = itertools.cycle(self.sizes)
        return b"".join(self._build(stamp, size) for stamp, size in zip(_UNTIMED, sizes, strict=False))

    def is_audio(self, head: bytes) -> bool:
        """Whether a payload that begins with `head` is audio."""
        return head.startswith(self.prefix)

    def read_stamp(self, head: bytes) -> tuple[int, int]:
        """Number and time (monotonic nanoseconds) of an audio payload that begins with `head`."""
        start = len(self.prefix)
        number, sent = _STAMP.unpack(binascii.a2b_base64(head[start : start + _STAMP_CHARACTERS]))
        return number, sent

    def is_of_block(self, head: bytes, received: int) -> bool:
        """Whether an audio payload that begins with `head` is the `received`th of blocks sent one behind the other."""
        return head.startswith(_UNTIMED[(received - 1) % BLOCK_FRAMES], len(self.prefix))

    def _template(self, size: int) -> _Template:
        found = self._templates.get(size)
        if found is None:
            frame = bytearray(self._build(_UNTIMED[0], size))
            header = len(frame) - len(self.prefix) - size - len(self.suffix)
            start = header + len(self.prefix)
            shift = len(self.prefix) % 4
            found = _Template(frame, slice(start, start + _STAMP_CHARACTERS), MASK[shift:] + MASK[:shift])
            self._templates[size] = found
        return found

    def _build(self, stamp: bytes, size: int) -> bytes:
        filler = b"QUFB" * ((size - _STAMP_CHARACTERS) // 4)
        payload = b"".join((self.prefix, stamp, filler, self.suffix))
        return build_frame(TEXT, payload, mask=MASK if self.masked else None)


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
MESSAGES_A_SECOND = UP.rate + DOWN.rate
"""Of a conversation at voice rate, both ways."""
