"""WebSocket frames as a load needs them: built whole, and walked over without keeping the payloads of large ones.

The key decision: nothing of `service.websocket` is used. A load that became faster with what it measures would hide
the difference; and a service needs every byte of a frame, where a load needs to know that it has arrived whole and what
its first bytes say. The rest is skipped, never copied.
"""

from __future__ import annotations

from typing import NamedTuple

from websockets.speedups import apply_mask

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA

KEPT_WHOLE_BELOW = 4000
"""Payloads shorter than this are kept whole: control frames and events. Audio is longer."""

HEAD_BYTES = 96
"""What is kept of a longer payload: an audio message up to and with its stamp."""

_LONGEST_HEADER = 14
_FIN = _MASKED = 0x80


def build_frame(opcode: int, payload: bytes, *, mask: bytes | None) -> bytes:
    """One whole frame, of a client with `mask`, of a server without."""
    size, bit = len(payload), _MASKED if mask else 0
    if size < 126:
        header = bytes((_FIN | opcode, bit | size))
    elif size < 65_536:
        header = bytes((_FIN | opcode, bit | 126)) + size.to_bytes(2, "big")
    else:
        header = bytes((_FIN | opcode, bit | 127)) + size.to_bytes(8, "big")
    return header + mask + apply_mask(payload, mask) if mask else header + payload


class Walked(NamedTuple):
    """A frame that has arrived whole; `head` is the start of its payload, unmasked."""

    opcode: int
    length: int
    head: bytes


class FrameWalker:
    """Finds the frames of one direction of a connection."""

    __slots__ = ("_head", "_header", "_kept", "_left", "_length", "_mask", "_opcode")

    def __init__(self) -> None:
        self._header = b""
        self._opcode = self._length = self._left = self._kept = 0
        self._mask = self._head = b""

    def feed(self, data: bytes | memoryview) -> list[Walked]:
        """The frames whose last byte is in `data`."""
        frames: list[Walked] = []
        position, size = 0, len(data)
        while position < size:
            if not self._left and not self._header:
                position = _take_whole(data, position, frames)
                if position == size:
                    break
            if not self._left:
                position = self._begin(data, position)
                if self._header:  # the rest of the header is still to come
                    break
            missing = self._kept - len(self._head)
            if missing > 0:
                self._head += data[position : position + min(missing, self._left)]
            step = min(self._left, size - position)
            position += step
            self._left -= step
            if not self._left:
                frames.append(self._finish())
        return frames

    def _begin(self, data: bytes | memoryview, position: int) -> int:
        """Read a header, and return where its payload begins; keep what there is of it if it is not whole."""
        already = len(self._header)
        header = self._header + data[position : position + _LONGEST_HEADER]
        size = _header_size(header)
        if len(header) < size:
            self._header = header
            return len(data)
        short = header[1] & 0x7F
        length_size = {126: 2, 127: 8}.get(short, 0)
        length = int.from_bytes(header[2 : 2 + length_size], "big") if length_size else short
        self._header = b""
        self._opcode, self._length, self._left = header[0] & 0x0F, length, length
        self._mask = header[size - 4 : size] if header[1] & _MASKED else b""
        self._kept = length if length < KEPT_WHOLE_BELOW else HEAD_BYTES
        self._head = b""
        return position + size - already

    def _finish(self) -> Walked:
        head = apply_mask(self._head, self._mask) if self._mask else self._head
        return Walked(self._opcode, self._length, head)


def _take_whole(data: bytes | memoryview, position: int, frames: list[Walked]) -> int:
    """Append the frames that are whole from `position` on, and return where the first one begins that is not.

    A flood is read some thirty frames at a time, and this costs a third of the way that allows for any split. Frames of
    less than 126 bytes or 64 kB and more take that way too.
    """
    size = len(data)
    while position + _LONGEST_HEADER <= size:
        second = data[position + 1]
        if second & 0x7F != 126:
            break
        length = data[position + 2] << 8 | data[position + 3]
        body = position + (8 if second & _MASKED else 4)
        if body + length > size:
            break
        head = bytes(data[body : body + (length if length < KEPT_WHOLE_BELOW else HEAD_BYTES)])
        if second & _MASKED:
            head = apply_mask(head, bytes(data[body - 4 : body]))
        frames.append(Walked(data[position] & 0x0F, length, head))
        position = body + length
    return position


def _header_size(header: bytes) -> int:
    """How long the header is that begins with these bytes; more than there are, if that is not known yet."""
    if len(header) < 2:
        return 2
    return 2 + {126: 2, 127: 8}.get(header[1] & 0x7F, 0) + (4 if header[1] & _MASKED else 0)
