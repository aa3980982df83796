"""WebSocket frames as the ends of a soak need them: built as wanted, and read whole.

The key decision: nothing of `service.websocket` is used, or a mistake that both have would not be seen.
"""

from __future__ import annotations

import random

from websockets.speedups import apply_mask

CONTINUATION, TEXT, CLOSE, PING, PONG = 0x0, 0x1, 0x8, 0x9, 0xA
_FIN = _MASKED = 0x80
_keys = random.Random(0)


def build_frame(opcode: int, payload: bytes, *, masks: bool, is_final: bool = True) -> bytes:
    """One frame, masked if `masks` (a client's)."""
    size, bit = len(payload), _MASKED if masks else 0
    first = opcode | (_FIN if is_final else 0)
    if size < 126:
        header = bytes((first, bit | size))
    elif size < 65_536:
        header = bytes((first, bit | 126, size >> 8, size & 0xFF))
    else:
        header = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if not masks:
        return header + payload
    key = _keys.getrandbits(32).to_bytes(4, "big")
    return header + key + apply_mask(payload, key)


class FrameReader:
    """Cuts one direction of a connection into frames: (opcode, payload), unmasked.

    Raises:
        ValueError: a fragment, which the service has no reason to send, or reserved bits.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[tuple[int, bytes]]:
        """The frames that are whole now."""
        buffer, position = self._buffer, 0
        buffer += data
        frames = []
        while (found := _frame_at(buffer, position)) is not None:
            opcode, payload, position = found
            frames.append((opcode, payload))
        del buffer[:position]
        return frames


def _frame_at(buffer: bytearray, start: int) -> tuple[int, bytes, int] | None:
    """Opcode and payload of the frame at `start`, and where it ends; None if it is not whole."""
    if len(buffer) - start < 2:
        return None
    second = buffer[start + 1]
    length, body = second & 0x7F, start + 2
    if length > 125:
        body += 2 if length == 126 else 8
        if len(buffer) < body:
            return None
        length = int.from_bytes(buffer[start + 2 : body], "big")
    key = b""
    if second & _MASKED:
        key, body = bytes(buffer[body : body + 4]), body + 4
    end = body + length
    if len(buffer) < end:
        return None
    first = buffer[start]
    if first & 0xF0 != _FIN:
        raise ValueError(f"a frame that begins with byte {first:#x}")
    payload = bytes(memoryview(buffer)[body:end])
    return first & 0x0F, apply_mask(payload, key) if key else payload, end
