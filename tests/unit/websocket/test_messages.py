"""Putting frames together, one at a time."""

from __future__ import annotations

import pytest

from service.errors import FrameError
from service.websocket import TEXT, Message, MessageReader
from service.websocket.frames import CONTINUATION, PING, Frame, build_frame


def test_each_frame_is_handed_up_by_itself_so_that_a_caller_can_count_them():
    """Ten thousand empty fragments may come in one piece."""
    reader = MessageReader(expect_masked=False, max_message_bytes=100)
    start = b"\x01\x02Ho"
    empty = b"\x00\x00"
    reader.feed(start + empty * 2 + build_frame(PING, b"p", mask=False) + b"\x80\x02la")
    assert [reader.next() for _ in range(6)] == [
        Frame(False, TEXT, b"Ho"),
        Frame(False, CONTINUATION, b""),
        Frame(False, CONTINUATION, b""),
        Frame(True, PING, b"p"),
        Message(TEXT, b"Hola"),
        None,
    ]


def test_no_run_begins_within_a_message_in_fragments():
    reader = MessageReader(expect_masked=False, max_message_bytes=1000)
    reader.feed(b"\x01\x02Ho" + build_frame(TEXT, b"p" * 200, mask=False))
    assert reader.next() == Frame(False, TEXT, b"Ho")
    assert reader.next_run(lambda *_: True, most=9) == (memoryview(b""), 0)
    with pytest.raises(FrameError, match="within a message"):
        reader.next()
