from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.websocket.frames import FrameParser
from soak.websocket_frames import CONTINUATION, PING, TEXT, FrameReader, build_frame

SIZES = st.sampled_from([0, 1, 125, 126, 65_535, 65_536])


@given(sizes=st.lists(SIZES, max_size=5), masks=st.booleans(), step=st.integers(1, 70_000))
def test_frames_come_out_as_they_went_in_however_the_stream_is_split(sizes: list[int], masks: bool, step: int) -> None:
    step = max(step, sum(sizes) // 200)
    frames = [(TEXT if size > 125 else PING, bytes(index % 251 for index in range(size))) for size in sizes]
    stream = b"".join(build_frame(opcode, payload, masks=masks) for opcode, payload in frames)
    reader = FrameReader()
    found = [frame for start in range(0, len(stream), step) for frame in reader.feed(stream[start : start + step])]
    assert found == frames


def test_the_service_reads_what_is_built_here() -> None:
    parser = FrameParser(expect_masked=True, max_payload_bytes=100)
    first = build_frame(TEXT, b"one ", masks=True, is_final=False)
    last = build_frame(CONTINUATION, b"message", masks=True)
    data = first + last
    parser.feed(data, 0, len(data))
    frames = [parser.next_frame(), parser.next_frame()]
    assert [(frame.fin, frame.payload) for frame in frames if frame] == [(False, b"one "), (True, b"message")]


def test_fragments_are_put_together_around_a_control_frame() -> None:
    parts = (
        build_frame(TEXT, b"one ", masks=False, is_final=False),
        build_frame(PING, b"between", masks=False),
        build_frame(CONTINUATION, b"message", masks=False),
    )
    assert FrameReader().feed(b"".join(parts)) == [(PING, b"between"), (TEXT, b"one message")]


@pytest.mark.parametrize(
    "stream",
    [
        build_frame(CONTINUATION, b"end", masks=False),
        build_frame(TEXT, b"one", masks=False, is_final=False) + build_frame(TEXT, b"two", masks=False),
        b"\xc1\x00",
    ],
    ids=["no start", "a start within", "reserved bit"],
)
def test_what_breaks_the_rules_is_an_error(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"continuation|0xc1"):
        FrameReader().feed(stream)
