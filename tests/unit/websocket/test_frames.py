"""The frame parser against RFC 6455, with wsproto as the oracle for valid and invalid streams."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.frame_protocol import CloseReason, FrameProtocol, Opcode, ParseFailed

from service.errors import FrameError
from service.websocket import frames
from service.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, Frame, FrameParser, build_frame

LIMIT = 100_000


def parse(stream: bytes, cuts: list[int], *, masked: bool) -> list[Frame]:
    parser = FrameParser(expect_masked=masked, max_payload_bytes=LIMIT)
    found: list[Frame] = []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        parser.feed(stream[start:end])
        while (frame := parser.next_frame()) is not None:
            found.append(frame)
    return found


payloads = st.one_of(
    st.binary(max_size=200),
    st.integers(120, 130).map(lambda size: b"x" * size),
    st.integers(120, 130).map(lambda size: b"p" * size),
    st.sampled_from([1000, 65_535, 65_536]).map(lambda size: b"p" * size),
    st.sampled_from([65_535, 65_536, 99_999]).map(lambda size: b"y" * size),
)


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), payloads), max_size=6), st.lists(st.integers(0)), st.booleans()
)
def test_built_frames_come_back_whole_however_the_stream_is_split(messages, cuts, masked):
    stream = b"".join(build_frame(opcode, payload, mask=masked) for opcode, payload in messages)
    assert parse(stream, cuts, masked=masked) == [Frame(True, opcode, payload) for opcode, payload in messages]


def test_the_parser_knows_how_much_of_a_frame_is_missing():
    stream = build_frame(TEXT, b"x" * 1000, mask=True)
    parser = FrameParser(expect_masked=True, max_payload_bytes=LIMIT)
    missing = []
    for edge in (0, 1, 500, len(stream)):
        parser.feed(stream[:edge])
        parser.next_frame()
        missing.append(parser.missing)
        parser = FrameParser(expect_masked=True, max_payload_bytes=LIMIT)
    assert missing == [1, 1, 508, 0]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([TEXT, BINARY, PING]), payloads), max_size=5), st.booleans())
def test_wsproto_reads_what_we_build_as_we_meant_it(messages, masked):
    oracle = FrameProtocol(client=not masked, extensions=[])
    for _, opcode, drawn in messages:
        payload = {PING: drawn[:125], TEXT: drawn.hex().encode()}.get(opcode, drawn)
        oracle.receive_bytes(build_frame(opcode, payload, mask=masked))
        received = [frame.payload for frame in oracle.received_frames()]
        joined = b"".join(part.encode() if isinstance(part, str) else bytes(part) for part in received)
        assert joined == payload


@given(st.binary(min_size=2, max_size=60), st.booleans())
def test_random_bytes_are_refused_when_wsproto_refuses_them(stream, masked):
    oracle = FrameProtocol(client=not masked, extensions=[])
    oracle.receive_bytes(stream)
    refused_by_oracle = False
    oracle_frames = 0
    try:
        for frame in oracle.received_frames():
            oracle_frames += frame.frame_finished
    except ParseFailed as failure:
        # Close payloads and UTF-8 are checked a layer above our parser.
        refused_by_oracle = failure.code == CloseReason.PROTOCOL_ERROR and oracle_frames == 0
    try:
        parse(stream, [], masked=masked)
        refused_by_us = False
    except FrameError as error:
        # wsproto has no bound of its own here, and it knows continuation order, which our connection checks.
        refused_by_us = error.code == 1002
    first = stream[0] & 0x0F
    if first not in (CONTINUATION, CLOSE):
        assert refused_by_us or not refused_by_oracle


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (bytes([0xC1, 0x80, 0, 0, 0, 0]), "reserved bits"),
        (bytes([0x83, 0x80, 0, 0, 0, 0]), "unknown opcode"),
        (bytes([0x09, 0x80, 0, 0, 0, 0]), "control frame"),
        (bytes([0x89, 0xFE, 0, 126]), "control frame"),
        (bytes([0x81, 0x00]), "masked"),
        (bytes([0x81, 0xFE, 0, 125]), "minimally"),
        (bytes([0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]), "minimally"),
        (bytes([0x81, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0]), "minimally"),
    ],
)
def test_a_breach_of_the_protocol_is_named_and_answered_with_1002(stream, why):
    with pytest.raises(FrameError, match=why) as caught:
        parse(stream, [], masked=True)
    assert caught.value.code == 1002


def test_a_frame_over_the_bound_is_refused_on_its_header_before_the_payload_has_come():
    header = build_frame(BINARY, b"z" * (LIMIT + 1), mask=True)[:14]
    with pytest.raises(FrameError) as caught:
        parse(header, [], masked=True)
    assert caught.value.code == 1009


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1013, 3000, 3008, 4999])
def test_a_close_payload_carries_code_and_reason(code):
    assert frames.read_close_payload(frames.build_close_payload(code, "¿qué pasó?")) == (code, "¿qué pasó?")


def test_a_long_reason_is_cut_to_123_bytes_between_characters():
    payload = frames.build_close_payload(1008, "ñ" * 100)
    assert len(payload) <= 125
    assert frames.read_close_payload(payload) == (1008, "ñ" * 61)


@pytest.mark.parametrize("payload", [b"\x03", b"\x00\x01", b"\x03\xed", b"\x03\xee", b"\xff\xff"])
def test_a_close_payload_that_must_not_be_sent_is_refused(payload):
    with pytest.raises(FrameError) as caught:
        frames.read_close_payload(payload)
    assert caught.value.code == 1002


def test_a_close_reason_that_is_not_utf8_is_answered_with_1007():
    with pytest.raises(FrameError) as caught:
        frames.read_close_payload(b"\x03\xe8\xff\xfe")
    assert caught.value.code == 1007


def test_codes_that_exist_only_locally_are_never_sent():
    assert frames.sendable_close_code(1005) == 1000
    assert frames.sendable_close_code(1006) == 1011
    assert frames.sendable_close_code(3008) == 3008
    assert frames.read_close_payload(b"") == (1005, "")
    assert build_frame(Opcode.CLOSE, b"", mask=False) == b"\x88\x00"
