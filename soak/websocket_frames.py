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
    """Cuts one direction of a connection into messages and control frames: (opcode, payload), unmasked.

    Raises:
        ValueError: reserved bits, or fragments that do not fit together.
    """

    __slots__ = ("_begun", "_buffer")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begun: list[tuple[int, bytes]] = []  # the fragments of a message whose end has not come

    def feed(self, data: bytes | memoryview) -> list[tuple[int, bytes]]:
        """What is whole now."""
        buffer, position = self._buffer, 0
        buffer += data
        found = []
        while (frame := _frame_at(buffer, position)) is not None:
            first, payload, position = frame
            if first & 0x70:
                raise ValueError(f"a frame that begins with byte {first:#x}")
            opcode = first & 0x0F
            if opcode >= CLOSE or (first & _FIN and opcode and not self._begun):
                found.append((opcode, payload))
            elif whole := self._put_together(first, payload):
                found.append(whole)
        del buffer[:position]
        return found

    def _put_together(self, first: int, payload: bytes) -> tuple[int, bytes] | None:
        if (first & 0x0F == CONTINUATION) is not bool(self._begun):
            raise ValueError("a continuation without a start, or a start within a message")
        self._begun.append((first & 0x0F, payload))
        if not first & _FIN:
            return None
        fragments, self._begun = self._begun, []
        return fragments[0][0], b"".join(fragment for _, fragment in fragments)


def _frame_at(buffer: bytearray, start: int) -> tuple[int, bytes, int] | None:
    """First byte and payload of the frame at `start`, and where it ends; None if it is not whole."""
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
    payload = bytes(memoryview(buffer)[body:end])
    return buffer[start], apply_mask(payload, key) if key else payload, end
