"""RFC 6455 frames: building them, and cutting them out of a stream of bytes that may be split anywhere.

The key decision: no I/O here. `FrameParser` is fed whatever arrived and hands out whole frames, unmasked; every rule
of section 5 that a peer can break is checked here, and the error names the close code that answers it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from service.errors import FrameError
from service.websocket.masks import apply_mask, mask_keys

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_CLOSE_CODES_ON_THE_WIRE = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
MAX_REASON_BYTES = 123


class Frame(NamedTuple):
    """One whole frame; the payload is unmasked."""

    fin: bool
    opcode: int
    payload: bytes


class FrameParser:
    """Cuts a stream into frames.

    `expect_masked` is True on a server (clients mask, servers do not: section 5.1); `max_payload_bytes` bounds one
    frame, and is checked on the header, before the payload is kept.

    Bytes are looked at where they lie, in the buffer that they were read into. Only what is left of a frame at the end
    of a read is copied, by `keep`.

    `missing` is how many more bytes the next frame needs, as far as that is known; 0 while it may be there.
    """

    __slots__ = ("_buffer", "_end", "_expect_masked", "_max_payload_bytes", "_own", "_start", "missing")

    def __init__(self, *, expect_masked: bool, max_payload_bytes: int) -> None:
        self._buffer: bytes | bytearray = b""
        self.missing = 0
        self._own: bytearray | None = None  # what `_buffer` is when it was lent by nobody
        self._start = 0
        self._end = 0
        self._expect_masked = expect_masked
        self._max_payload_bytes = max_payload_bytes

    def feed(self, data: bytes | bytearray, start: int = 0, end: int | None = None) -> None:
        """Take what arrived: `data[start:end]`, which may change again only after `keep`.

        What is left of a frame goes in front of it, if there is room for that: then whole reads are never copied.
        """
        end = len(data) if end is None else end
        left = self._end - self._start
        self.missing = 0
        if not left:
            self._buffer, self._own, self._start, self._end = data, None, start, end
            return
        if isinstance(data, bytearray) and left <= start:
            data[start - left : start] = self._buffer[self._start : self._end]
            self._buffer, self._own, self._start, self._end = data, None, start - left, end
            return
        self.keep()
        own = self._own = self._own or bytearray()
        if self._start:
            del own[: self._start]
        own += memoryview(data)[start:end]
        self._buffer, self._start, self._end = own, 0, len(own)

    def keep(self) -> None:
        """Make what is not handed out our own, because the buffer that was fed is read into again."""
        if self._start == self._end:
            # What waits for the peer's next word holds no buffer.
            self._buffer, self._own, self._start, self._end = b"", None, 0, 0
        elif self._own is None:
            self._buffer = self._own = bytearray(memoryview(self._buffer)[self._start : self._end])
            self._start, self._end = 0, len(self._own)

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None until more has arrived.

        Raises:
            FrameError: the peer broke the protocol (1002) or the bound (1009).
        """
        header = self._read_header()
        if header is None:
            self.missing = 1
            return None
        body, end = header
        if end > self._end:
            self.missing = end - self._end
            return None
        buffer, first = self._buffer, self._buffer[self._start]
        with memoryview(buffer) as view:
            if self._expect_masked:
                payload = apply_mask(view[body:end], bytes(view[body - 4 : body]))
            else:
                payload = bytes(view[body:end])
        self._start = end
        return Frame(bool(first & 0x80), first & 0x0F, payload)

    def _read_header(self) -> tuple[int, int] | None:
        """Where the next frame's payload begins and ends (it may not all be there); None until the header is."""
        buffer, start = self._buffer, self._start
        available = self._end - start
        if available < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        self._check_first_bytes(first, second)
        length, header = second & 0x7F, 2
        if length == 126:
            if available < 4:
                return None
            length, header = int.from_bytes(buffer[start + 2 : start + 4], "big"), 4
            if length < 126:
                raise FrameError(1002, "payload length is not minimally encoded")
        elif length == 127:
            if available < 10:
                return None
            length, header = int.from_bytes(buffer[start + 2 : start + 10], "big"), 10
            if length < 65_536 or length >> 63:
                raise FrameError(1002, "payload length is not minimally encoded")
        if length > self._max_payload_bytes:
            raise FrameError(1009, f"message is too big: at most {self._max_payload_bytes} bytes are taken")
        body = start + header + (4 if self._expect_masked else 0)
        return body, body + length

    def _check_first_bytes(self, first: int, second: int) -> None:
        if first & 0x70:
            raise FrameError(1002, "reserved bits are set though no extension was agreed")
        opcode = first & 0x0F
        if opcode not in _OPCODES:
            raise FrameError(1002, f"unknown opcode {opcode}")
        if opcode >= CLOSE and (not first & 0x80 or second & 0x7F > 125):
            raise FrameError(1002, "a control frame is fragmented or longer than 125 bytes")
        if bool(second & 0x80) is not self._expect_masked:
            raise FrameError(1002, "a client's frames must be masked and a server's must not")


def build_frame(opcode: int, payload: bytes, *, mask: bool) -> bytes:
    """One final frame, masked afresh when `mask` (we are the client)."""
    length = len(payload)
    mask_bit = 0x80 if mask else 0
    if length < 126:
        header = bytes((0x80 | opcode, mask_bit | length))
    elif length < 65_536:
        header = struct.pack("!BBH", 0x80 | opcode, mask_bit | 126, length)
    else:
        header = struct.pack("!BBQ", 0x80 | opcode, mask_bit | 127, length)
    if not mask:
        return header + payload
    key = mask_keys.draw()
    return header + key + apply_mask(payload, key)


def build_close_payload(code: int, reason: str) -> bytes:
    """A close frame's payload; the reason is cut to 123 bytes without splitting a character."""
    cut = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()
    return struct.pack("!H", code) + cut


def read_close_payload(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame; 1005 when it has none.

    Raises:
        FrameError: the payload breaks section 5.5.1 or 7.4 (1002), or the reason is not UTF-8 (1007).
    """
    if not payload:
        return 1005, ""
    if len(payload) == 1:
        raise FrameError(1002, "a close frame with half a code")
    code = int.from_bytes(payload[:2], "big")
    if code not in _CLOSE_CODES_ON_THE_WIRE and not 3000 <= code <= 4999:
        raise FrameError(1002, f"close code {code} must not be sent")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise FrameError(1007, "the close reason is not UTF-8") from None


def sendable_close_code(code: int) -> int:
    """`code` if it may stand in a close frame, else its nearest relative: 1005 and 1006 exist only locally."""
    if code in _CLOSE_CODES_ON_THE_WIRE or 3000 <= code <= 4999:
        return code
    return 1000 if code == 1005 else 1011
