"""Runs: what goes on unread, whatever stands around it and wherever the reads are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.websocket import MessageReader
from service.websocket.frames import BINARY, PING, TEXT, Frame, FrameParser, build_frame

LIMIT = 100_000


def parse_through_one_buffer(stream: bytes, cuts: list[int], *, masked: bool) -> bytes:
    """What is sent on when every read goes into the same buffer, as in the relay: runs, and frames built anew."""
    reader = MessageReader(expect_masked=masked, max_message_bytes=LIMIT)
    room = 1000  # some of what is left of a frame fits in front of a read, some does not
    buffer = bytearray(room + LIMIT * 10)
    sent = b""
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        buffer[room : room + end - start] = stream[start:end]
        reader.feed(buffer, room, room + end - start)
        while True:
            run, count = reader.next_run(lambda data, begin, stop: data[begin : begin + 1] == b"p", most=2)
            sent += run
            del run  # a view: the buffer cannot grow while it lives
            if not count:
                frame = reader.next_frame()
                if frame is None:
                    break
                sent += build_frame(frame.opcode, frame.payload, mask=masked)
        reader.keep()
        buffer[:] = b"#" * len(buffer)
    return sent


payloads = st.one_of(
    st.binary(max_size=200),
    st.integers(120, 130).map(lambda size: b"p" * size),
    st.sampled_from([1000, 65_535, 65_536, 99_999]).map(lambda size: b"p" * size),
)


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), payloads), max_size=8), st.lists(st.integers(0)), st.booleans()
)
def test_runs_and_single_frames_send_everything_on_in_order_though_the_buffer_is_read_into_again(
    messages, cuts, masked
):
    stream = b"".join(build_frame(opcode, payload, mask=masked) for opcode, payload in messages)
    sent = parse_through_one_buffer(stream, cuts, masked=masked)
    judge = FrameParser(expect_masked=masked, max_payload_bytes=LIMIT)
    judge.feed(sent)
    assert list(iter(judge.next_frame, None)) == [Frame(True, opcode, payload) for opcode, payload in messages]


def test_a_run_of_a_clients_frames_gets_fresh_masks_and_a_servers_stays_as_it_is():
    for masked in (True, False):
        stream = b"".join(build_frame(TEXT, b"p" * 200, mask=masked) for _ in range(5))
        reader = MessageReader(expect_masked=masked, max_message_bytes=LIMIT)
        reader.feed(bytearray(stream))
        run, count = reader.next_run(lambda *_: True, most=9)
        assert count == 5
        assert (bytes(run) == stream) is not masked
        keys = {bytes(run[start + 4 : start + 8]) for start in range(0, len(run), 208)}
        assert not masked or len(keys) == 5


@pytest.mark.parametrize(
    ("opcode", "payload"), [(BINARY, b"p" * 200), (PING, b"p" * 100), (TEXT, b"p" * 100), (TEXT, b"p" * 65_536)]
)
def test_no_run_takes_what_must_be_looked_at_whole(opcode, payload):
    reader = MessageReader(expect_masked=True, max_message_bytes=LIMIT)
    reader.feed(bytearray(build_frame(opcode, payload, mask=True)))
    assert reader.next_run(lambda *_: True, most=9) == (memoryview(b""), 0)
