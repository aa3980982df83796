"""Answers cut at any byte, in any framing; where they are well formed, http.client is the judge."""

from __future__ import annotations

import http.client
import itertools
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.elevenlabs.http_framing import (
    MAX_HEAD_BYTES,
    MAX_SIZE_LINE_BYTES,
    MAX_TRAILER_BYTES,
    ChunkedBody,
    body_of,
    split_head,
)

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def read(pieces: Sequence[bytes]) -> tuple[bytes, bool]:
    """The body of an answer that arrives in these pieces before its peer hangs up, and whether it left a surplus."""
    data = b""
    pieces = list(pieces)
    while (found := split_head(data)) is None:
        data += pieces.pop(0)
    head, rest = found
    body = body_of(head)
    got = body.take(rest) if rest else b""
    for piece in pieces:
        if not body.is_complete:
            got += body.take(piece)
    if not body.is_complete:
        body.end()
    assert body.is_complete
    return got, body.has_surplus


def read_with_http_client(data: bytes) -> bytes:
    """The same by Python's own client, from a real socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(data) + 65_536)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with http.client.HTTPResponse(ours) as response:
            response.begin()
            return response.read()


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(data) for place in places}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges) if a < b]


def chunked(chunks: Sequence[bytes], form: str = "%x", extension: bytes = b"", trailers: bytes = b"") -> bytes:
    framed = [(form % len(chunk)).encode() + extension + b"\r\n" + chunk + b"\r\n" for chunk in chunks if chunk]
    return b"".join(framed) + b"0" + extension + b"\r\n" + trailers + b"\r\n"


PLACES = st.lists(st.integers(0, 1 << 20), max_size=40)
CHUNKS = st.lists(st.binary(min_size=1, max_size=300) | st.just(b"\r\n0\r\n\r\n"), max_size=12)


@given(
    CHUNKS,
    st.sampled_from(["%x", "%X", "%08x"]),
    st.sampled_from([b"", b";x", b' ;a="b;c"', b"; " + b"y" * 200]),
    st.sampled_from([b"", b"x-checksum: 1\r\n", b"a: b\r\nc: d\r\n"]),
    PLACES,
)
def test_a_chunked_body_is_what_http_client_reads_wherever_it_is_cut(
    chunks: list[bytes], form: str, extension: bytes, trailers: bytes, places: list[int]
) -> None:
    data = CHUNKED + chunked(chunks, form, extension, trailers)
    body, surplus = read(cut(data, places))
    assert body == b"".join(chunks) == read_with_http_client(data)
    assert not surplus


@given(st.binary(max_size=600), PLACES)
def test_a_body_of_known_length_is_what_http_client_reads_wherever_it_is_cut(body: bytes, places: list[int]) -> None:
    data = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    assert read(cut(data, places)) == (body, False)
    assert read_with_http_client(data) == body


@given(st.binary(max_size=600), PLACES)
def test_a_body_without_a_length_ends_with_its_connection(body: bytes, places: list[int]) -> None:
    data = b"HTTP/1.0 200 OK\r\n\r\n" + body
    assert read(cut(data, places)) == (body, False)
    assert read_with_http_client(data) == body


def test_a_body_of_one_byte_at_a_time_is_whole() -> None:
    chunks = [b"first", b"x" * 300, b"\r\n"]
    data = CHUNKED + chunked(chunks, extension=b";e", trailers=b"t: 1\r\n")
    assert read([bytes([byte]) for byte in data]) == (b"".join(chunks), False)


def test_what_has_arrived_of_a_giant_chunk_is_handed_out_at_once() -> None:
    body = ChunkedBody()
    assert body.take(b"ffffffffff\r\nabc") == b"abc"
    assert body.take(b"d" * 100_000) == b"d" * 100_000
    with pytest.raises(http.client.IncompleteRead):
        body.end()


@pytest.mark.parametrize("framing", ["chunked", "content-length"])
def test_a_body_that_stops_anywhere_before_its_end_is_an_error_and_what_came_is_its_beginning(framing: str) -> None:
    chunks = [b"first", b"second chunk", b"third"]
    whole = b"".join(chunks)
    if framing == "chunked":
        head, rest = CHUNKED, chunked(chunks)
        end = len(rest) - len(b"\r\n")  # behind the last chunk's size; only the trailers' end is then missing
    else:
        head, rest = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(whole), whole
        end = len(rest)
    for stop in range(end):
        found = split_head(head)
        assert found is not None
        body = body_of(found[0])
        got = body.take(rest[:stop]) if stop else b""
        assert whole.startswith(got)
        assert not body.is_complete
        with pytest.raises(http.client.IncompleteRead):
            body.end()


def test_a_connection_that_ends_behind_the_last_chunk_has_brought_the_whole_body_and_is_of_no_more_use() -> None:
    # RFC 9112 section 8: complete once the chunk of size zero is there.
    assert read([CHUNKED + b"3\r\nabc\r\n0\r\n"]) == (b"abc", True)


@pytest.mark.parametrize(
    "size",
    [b"", b"g", b"-1", b"+5", b"0x5", b"5_0", b" 5", b"5 5", b"\xd9\xa3", b";x", b"f" * 16, b"5\n", b"5\rx", b"5\x00"],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_chunk_without_a_proper_size_is_an_error_at_once(size: bytes, first: bool) -> None:
    body = ChunkedBody()
    if not first:
        assert body.take(b"3\r\nabc\r\n") == b"abc"
    with pytest.raises(http.client.HTTPException):
        body.take(size + b"\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("behind", [b"XX5\r\nhello\r\n", b"\n5\r\nhello\r\n", b"\rX", b"X"])
def test_a_chunk_longer_than_its_size_is_an_error(behind: bytes) -> None:
    with pytest.raises(http.client.HTTPException):
        ChunkedBody().take(b"3\r\nabc" + behind)


def test_a_size_line_and_trailers_without_an_end_are_bounded() -> None:
    body = ChunkedBody()
    body.take(b"5;")
    with pytest.raises(http.client.HTTPException):
        for _ in range(MAX_SIZE_LINE_BYTES):
            body.take(b"x")
    body = ChunkedBody()
    body.take(b"0\r\n")
    with pytest.raises(http.client.HTTPException):
        for _ in range(MAX_TRAILER_BYTES // 6 + 1):
            body.take(b"a: b\r\n")


@pytest.mark.parametrize(
    "answer",
    [CHUNKED + b"1\r\na\r\n0\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", b"HTTP/1.1 204 X\r\n\r\n"],
)
def test_what_comes_behind_the_end_is_no_part_of_the_body_and_spoils_the_connection(answer: bytes) -> None:
    body, surplus = read([answer + b"HTTP/1.1 200 OK\r\n\r\n"])
    assert body == (b"" if b" 204 " in answer else b"a")
    assert surplus


# --- Heads


@given(
    st.lists(
        st.tuples(
            st.from_regex(r"\Ax-[A-Za-z0-9_-]{1,20}\Z"),
            st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=60),
        ),
        max_size=30,
    ),
    PLACES,
)
def test_a_head_has_the_fields_that_http_client_reads_wherever_it_is_cut(
    fields: list[tuple[str, str]], places: list[int]
) -> None:
    lines = "".join(f"{name}:  {value} \r\n" for name, value in fields)
    data = f"HTTP/1.1 200 Fine by me\r\n{lines}content-length: 0\r\n\r\n".encode("latin-1")
    got, found = b"", None
    for piece in cut(data, places):
        assert found is None
        got += piece
        found = split_head(got)
    assert found is not None
    expected: dict[str, str] = {}
    for name, value in [*fields, ("content-length", "0")]:
        key = name.lower()
        expected[key] = f"{expected[key]}, {value}" if key in expected else value
    assert dict(found[0].headers) == expected
    assert (found[0].status, found[1]) == (200, b"")


def test_interim_answers_are_skipped_and_folded_fields_are_one_line() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    found = split_head(interim + b"HTTP/1.1 200 OK\r\nx-long: one\r\n\t two\r\n\r\nrest")
    assert found is not None
    assert (found[0].status, found[0].headers["x-long"], found[1]) == (200, "one two", b"rest")


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00", b"HTTP/2", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na : c\r\n\r\n", b"HTTP/1.1 200 OK\r\na: \x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\nc: d\r\n\r\n", b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD_BYTES,
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MAX_HEAD_BYTES // 20),
    ],
)  # fmt: skip
def test_what_is_no_head_is_an_error_at_once(head: bytes) -> None:
    with pytest.raises(http.client.HTTPException):
        split_head(head)


@pytest.mark.parametrize(
    "fields",
    [
        b"content-length: 5\r\ncontent-length: 6\r\n", b"content-length: -5\r\n", b"content-length: +5\r\n",
        b"content-length: 5 5\r\n", b"content-length: \r\n", b"content-length: " + b"9" * 5_000 + b"\r\n",
        b"transfer-encoding: gzip, chunked\r\n", b"transfer-encoding: chunked, chunked\r\n",
        b"transfer-encoding: identity\r\n", b"transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ],
)  # fmt: skip
def test_a_head_that_does_not_say_clearly_how_the_body_ends_is_an_error(fields: bytes) -> None:
    found = split_head(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
    assert found is not None
    with pytest.raises(http.client.HTTPException):
        body_of(found[0])


@pytest.mark.parametrize(
    ("start", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\n", True), (b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", False), (b"HTTP/1.0 200 OK\r\n", False),
    ],
)  # fmt: skip
def test_a_connection_is_kept_unless_the_peer_says_otherwise(start: bytes, kept: bool) -> None:
    found = split_head(start + b"\r\n")
    assert found is not None
    assert found[0].keeps_alive is kept
