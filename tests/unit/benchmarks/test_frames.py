"""The load's frames, with wsproto as the oracle, and its walker, whatever pieces the bytes come in."""

from __future__ import annotations

import base64
import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, Opcode

from benchmarks.generator.audio_frames import BLOCK_FRAMES, DOWN, MASK, UP, Direction
from benchmarks.generator.frames import (
    CLOSE,
    HEAD_BYTES,
    KEPT_WHOLE_BELOW,
    PING,
    TEXT,
    FrameWalker,
    Walked,
    build_frame,
)

payload_sizes = st.one_of(
    st.integers(0, 300),
    st.sampled_from([125, 126, KEPT_WHOLE_BELOW - 1, KEPT_WHOLE_BELOW, 65_535, 65_536, 70_000]),
)


def walked(stream: bytes, cuts: list[int]) -> list[Walked]:
    walker = FrameWalker()
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [frame for start, end in itertools.pairwise(edges) for frame in walker.feed(stream[start:end])]


def payload_of(size: int) -> bytes:
    return bytes(number % 251 for number in range(size))


@given(st.lists(payload_sizes, min_size=1, max_size=5), st.lists(st.integers(0, 200_000), max_size=12), st.booleans())
def test_the_walker_finds_every_frame_wherever_the_stream_is_cut(
    sizes: list[int], cuts: list[int], masked: bool
) -> None:
    payloads = [payload_of(size) for size in sizes]
    mask = MASK if masked else None
    found = walked(b"".join(build_frame(TEXT, payload, mask=mask) for payload in payloads), cuts)
    assert [(frame.opcode, frame.length) for frame in found] == [(TEXT, size) for size in sizes]
    for frame, payload in zip(found, payloads, strict=True):
        kept = len(payload) if len(payload) < KEPT_WHOLE_BELOW else HEAD_BYTES
        assert frame.head == payload[:kept]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_is_what_wsproto_reads_it_as(size: int, masked: bool) -> None:
    oracle = FrameProtocol(client=not masked, extensions=[])
    oracle.receive_bytes(build_frame(TEXT, b"x" * size, mask=MASK if masked else None))
    frames = list(oracle.received_frames())
    assert [frame.opcode for frame in frames] == [Opcode.TEXT] + [Opcode.CONTINUATION] * (len(frames) - 1)
    assert "".join(str(frame.payload) for frame in frames) == "x" * size
    assert frames[-1].message_finished


def test_control_frames_are_kept_whole() -> None:
    stream = build_frame(PING, b"hello", mask=None) + build_frame(CLOSE, b"\x03\xe8", mask=None)
    assert walked(stream, []) == [Walked(PING, 5, b"hello"), Walked(CLOSE, 2, b"\x03\xe8")]


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_stamped_message_is_an_event_with_audio_that_says_its_number_and_when_it_was_sent(
    direction: Direction,
) -> None:
    before = time.monotonic_ns()
    for number in range(1, 8):
        (frame,) = walked(bytes(direction.stamped(number)), [])
        assert direction.is_audio(frame.head)
        stamped, sent = direction.read_stamp(frame.head)
        assert stamped == number
        assert before <= sent <= time.monotonic_ns()


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_message_is_json_with_base64_of_the_size_that_was_asked_for(direction: Direction) -> None:
    oracle = FrameProtocol(client=not direction.masked, extensions=[])
    oracle.receive_bytes(bytes(direction.stamped(3)))
    event = json.loads("".join(str(frame.payload) for frame in oracle.received_frames()))
    audio = event.get("user_audio_chunk") or event["audio_event"]["audio_base_64"]
    assert len(audio) == direction.sizes[3 % len(direction.sizes)]
    assert len(base64.b64decode(audio, validate=True)) == len(audio) // 4 * 3


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_block_tells_a_message_that_is_missing_or_out_of_turn(direction: Direction) -> None:
    frames = walked(direction.block() * 2, [])
    assert len(frames) == BLOCK_FRAMES * 2
    assert all(direction.is_of_block(frame.head, place) for place, frame in enumerate(frames, 1))
    assert not direction.is_of_block(frames[4].head, 4)
    assert not direction.is_of_block(frames[4].head, 6)
