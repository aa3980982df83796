"""From bytes to messages: frames put together, text checked, control frames told apart. No I/O.

The key decision: one reader for both ways in which a socket is served, by a thread that waits (`connection.py`) and
by callbacks of an event loop (`service.conversation.relay`), so that both keep the same rules of RFC 6455.
"""

from __future__ import annotations

from typing import NamedTuple

from service.errors import FrameError
from service.websocket.frames import CLOSE, CONTINUATION, TEXT, Frame, FrameParser, Passes


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
        """As the parser's; nothing while a message in fragments is under way, for which another must not begin."""
        return (memoryview(b""), 0) if self._opcode else super().next_run(passes, most)

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
