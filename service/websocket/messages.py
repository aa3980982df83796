"""From bytes to messages: frames put together, text checked, control frames told apart. No I/O.

The key decision: one reader for both ways in which a socket is served, by a thread that waits (`connection.py`) and
by callbacks of an event loop (`service.conversation.relay`), so that both keep the same rules of RFC 6455.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from service.errors import FrameError
from service.websocket.frames import CLOSE, CONTINUATION, TEXT, Frame, FrameParser
from service.websocket.masks import apply_mask, mask_keys

_WHOLE_TEXT = 0x80 | TEXT
_LENGTH_IN_TWO_BYTES = 126
_MASKED_LENGTH_IN_TWO_BYTES = 0x80 | 126

Passes = Callable[[bytes | bytearray, int, int], bool]
"""Whether the text in `data[start:end]` may go on unread. Of a masked one, only the first PEEK_BYTES are there."""
PEEK_BYTES = 64  # a multiple of the key's length, more than the beginning of any audio message
_NOTHING = memoryview(b"")


class Message(NamedTuple):
    """A whole message: `opcode` is TEXT (the data is valid UTF-8) or BINARY."""

    opcode: int
    data: bytes


class MessageReader(FrameParser):
    """A parser that puts a peer's frames together.

    `expect_masked` is True on a server; `max_message_bytes` bounds one message over all its frames.
    """

    __slots__ = ("_fragments", "_fragments_bytes", "_max_message_bytes", "_opcode")

    def __init__(self, *, expect_masked: bool, max_message_bytes: int) -> None:
        super().__init__(expect_masked=expect_masked, max_payload_bytes=max_message_bytes)
        self._max_message_bytes = max_message_bytes
        self._fragments: list[bytes] = []
        self._fragments_bytes = 0
        self._opcode = 0

    def next_run(self, passes: Passes, most: int) -> tuple[memoryview, int]:
        """What to send on of the messages that come next and pass unread, and how many they are (at most `most`).

        Only the commonest kind of frame is in a run: a whole text message of 126 to 65,535 bytes, all there, which
        `passes` lets through after a look at its beginning. A run is a piece of the buffer as it lies there (send it
        before `keep`): a server's frames go on byte for byte, a client's with a fresh mask (section 5.3). Both have the
        same layout on either side.
        """
        buffer, limit, position, count = self._buffer, self._end, self._start, 0
        masked = self._expect_masked
        # No message begins within another; and what is `bytes` cannot be masked where it lies.
        if self._opcode or (masked and isinstance(buffer, bytes)):
            return _NOTHING, 0
        view = memoryview(buffer)
        second = _MASKED_LENGTH_IN_TWO_BYTES if masked else _LENGTH_IN_TWO_BYTES
        header = 8 if masked else 4
        while (
            count < most
            and limit - position > header
            and buffer[position] == _WHOLE_TEXT
            and buffer[position + 1] == second
        ):
            length = buffer[position + 2] << 8 | buffer[position + 3]
            body = position + header
            end = body + length
            if not 126 <= length <= self._max_payload_bytes:
                break
            if end > limit:
                self.missing = end - limit
                break
            if not masked:
                if not passes(buffer, body, end):
                    break
            elif passes(apply_mask(view[body : body + PEEK_BYTES], buffer[position + 4 : body]), 0, length):
                # A mask over the key and what it masks: the new key is as random as the mask, and fits.
                view[position + 4 : end] = apply_mask(view[position + 4 : end], mask_keys.draw())
            else:
                break
            position = end
            count += 1
        else:
            self.missing = 1 if position == limit else 0
        start, self._start = self._start, position
        return (view[start:position], count) if count else (_NOTHING, 0)

    def next(self) -> Message | Frame | None:
        """What the next frame makes: a whole message, or the frame itself if it is a control frame (they come between
        fragments) or a fragment that ends no message, or None: feed more.

        One frame a call, so that a caller can count: a peer may send ten thousand empty fragments in one piece.

        Raises:
            FrameError: the peer broke the protocol (1002, 1007) or the bound (1009).
        """
        frame = self.next_frame()
        if frame is None or frame.opcode >= CLOSE:
            return frame
        return self._assemble(frame) or frame

    def _assemble(self, frame: Frame) -> Message | None:
        if (frame.opcode == CONTINUATION) is not bool(self._opcode):
            raise FrameError(1002, "a continuation without a start, or a start within a message")
        if frame.fin and frame.opcode:
            return _whole(frame.opcode, frame.payload)
        self._opcode = self._opcode or frame.opcode
        self._fragments_bytes += len(frame.payload)
        if self._fragments_bytes > self._max_message_bytes:
            raise FrameError(1009, f"message is too big: at most {self._max_message_bytes} bytes are taken")
        if frame.payload:  # empty fragments would make a list without bound
            self._fragments.append(frame.payload)
        if not frame.fin:
            return None
        opcode, data = self._opcode, b"".join(self._fragments)
        self._opcode, self._fragments, self._fragments_bytes = 0, [], 0
        return _whole(opcode, data)


def _whole(opcode: int, data: bytes) -> Message:
    if opcode == TEXT and not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            raise FrameError(1007, "a text message is not UTF-8") from None
    return Message(opcode, data)
