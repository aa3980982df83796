"""The client's handshake, judged by two libraries that have their own: `websockets` and `wsproto`."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.http11 import Request as ServerRequest
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request

from service.errors import HandshakeError
from service.websocket.client_handshake import (
    accept_value,
    build_request,
    is_switching,
    new_key,
    parse_url,
    read_refusal,
    read_switch,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
OFFERED = ("convai", "other")
NAMES = {
    # Not an empty list: websockets refuses what RFC 9110 (section 5.6.1) lets pass beside another one.
    "Connection": ("Upgrade", "upgrade", "keep-alive, UPGRADE", ",upgrade,,", "keep-alive", "close"),
    "Upgrade": ("websocket", "WebSocket", "websocket,", "websocket, h2c", "h2c"),
    "Sec-WebSocket-Accept": (
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "bm90IHRoZSByaWdodCBvbmU=",
        "",
    ),
    "Sec-WebSocket-Protocol": ("convai", "other", "CONVAI", "convai, other", "convai,", "unknown"),
    "Sec-WebSocket-Extensions": ("permessage-deflate", "x; y=1"),
    "Server": ("any", "é", "a\tb", "a\x01b", ""),
    "Bad Name": ("1",),
}
PROPER = [(name, values[0]) for name, values in list(NAMES.items())[:3]]
FIELDS = st.sampled_from(list(NAMES)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(NAMES[name])))
SEPARATORS = st.sampled_from([":", ": ", ":  \t", " : "])
ENDS = st.sampled_from([*(["\r\n"] * 20), "\n", "\r\n ", "\r"])
STATUS_LINES = st.sampled_from(
    [*(["HTTP/1.1 101 Switching Protocols"] * 12), "HTTP/1.1 101 ", "HTTP/1.1 101", "HTTP/1.0 101 x", "HTTP/2 101 x"]
)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Heads with status 101, proper ones and all that can be wrong with them."""
    kept = [field for field in PROPER if draw(st.integers(0, 9))]
    fields = draw(st.permutations([*kept, *draw(st.lists(FIELDS, max_size=3))]))
    lines = [draw(STATUS_LINES) + draw(ENDS)]
    for name, value in fields:
        spelled = draw(st.sampled_from([name, name.lower(), name.upper()]))
        lines.append(spelled + draw(SEPARATORS) + value + draw(st.sampled_from(["", " ", "\t "])) + draw(ENDS))
    return ("".join(lines) + "\r\n").encode("latin-1")


def verdict_of_websockets(head: bytes) -> tuple[bool, str | None]:
    client = ClientProtocol(parse_uri("ws://localhost/"), subprotocols=[Subprotocol(name) for name in OFFERED])
    client.key = KEY.decode()
    client.connect()
    client.receive_data(head)
    return client.handshake_exc is None and bool(client.events_received()), client.subprotocol


def our_verdict(head: bytes) -> tuple[bool, str | None]:
    try:
        return True, read_switch(head, KEY, subprotocols=OFFERED)
    except HandshakeError as error:
        assert error.status == 101
        return False, None


def proper_answer(*more: str) -> bytes:
    fields = [f"{name}: {value}" for name, value in PROPER]
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *fields, *more, "", ""]).encode("latin-1")


@given(answers())
@example(proper_answer())
@example(proper_answer("Sec-WebSocket-Protocol: convai"))
@example(proper_answer("Connection: keep-alive"))
@example(proper_answer("Server: x\r\n folded"))
def test_an_answer_is_taken_if_and_only_if_websockets_takes_it(head: bytes):
    # One thing ends differently: bytes that never complete a head. They do not get as far as here.
    end = head.find(b"\r\n\r\n") + 4
    if end < 4 or not is_switching(head[:end]):
        return
    accepted, subprotocol = verdict_of_websockets(head[:end])
    assert our_verdict(head[:end]) == (accepted, subprotocol if accepted else None)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (proper_answer().replace(b"Connection", b"X"), b"Connection"),
        (proper_answer().replace(b"Upgrade: websocket", b"Upgrade: h2c"), b"Upgrade"),
        (proper_answer().replace(b"s3pP", b"S3pP"), b"Accept"),
        (proper_answer("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), b"Accept"),
        (proper_answer("Sec-WebSocket-Extensions: permessage-deflate"), b"extension"),
        (proper_answer("Sec-WebSocket-Protocol: unknown"), b"subprotocol"),
        (proper_answer("Sec-WebSocket-Protocol:"), b"subprotocol"),
        (proper_answer("Server: a", " folded"), b"malformed"),
        (proper_answer().replace(b"HTTP/1.1", b"HTTP/1.0"), b"malformed"),
        (proper_answer("no colon"), b"malformed"),
        (proper_answer("Server: a\x00b"), b"malformed"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(head: bytes, words: bytes):
    with pytest.raises(HandshakeError) as caught:
        read_switch(head, KEY, subprotocols=OFFERED)
    assert caught.value.status == 101
    assert words in caught.value.body


def test_a_value_of_nothing_but_spaces_takes_no_more_time_than_it_has_bytes():
    """A pattern that backtracks would take hours for these 60 kB."""
    assert our_verdict(proper_answer("Server: " + " " * 60_000 + "x")) == (True, None)


TARGETS = st.text("abcXYZ019/-._~%?=&", max_size=40)
HOSTS = st.sampled_from(["localhost", "api.elevenlabs.io", "127.0.0.1", "[::1]"])
PORTS = st.sampled_from(["", ":80", ":443", ":8011"])
SUBPROTOCOLS = st.lists(st.sampled_from(["convai", "a.b", "x"]), unique=True)
HEADERS = st.dictionaries(st.sampled_from(["x-test", "User-Agent"]), st.text("abc 1:;", max_size=20).map(str.strip))


@given(st.sampled_from(["ws", "wss"]), HOSTS, PORTS, TARGETS)
def test_a_url_has_the_parts_that_websockets_finds_in_it(scheme: str, host: str, port: str, target: str):
    url = f"{scheme}://{host}{port}/{target}"
    ours, theirs = parse_url(url), parse_uri(url)
    assert (ours.is_secure, ours.host, ours.port, ours.target) == (
        theirs.secure,
        theirs.host,
        theirs.port,
        theirs.resource_name,
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "localhost",
        "ws://",
        "ws:///path",
        "ws://user:word@localhost/",
        "ws://localhost/#fragment",
        "ws://localhost:99999/",
        "ws://localhost/a b",
        "ws://localhost/a\r\nx-injected: 1",
        "ws://localhost/é",
    ],
)
def test_a_url_that_cannot_be_opened_is_refused_without_being_quoted(url: str):
    with pytest.raises(ValueError, match=r"URL|Port|port") as caught:
        parse_url(url)
    assert "word" not in str(caught.value)


@given(HOSTS, TARGETS, HEADERS, SUBPROTOCOLS)
def test_both_libraries_understand_our_request_and_we_their_answers(
    host: str, target: str, headers: dict[str, str], subprotocols: list[str]
):
    address, key = parse_url(f"ws://{host}/{target}"), new_key()
    request = build_request(address, key, headers=headers, subprotocols=subprotocols)
    wanted = subprotocols[0] if subprotocols else None

    # A server that has subprotocols refuses, in `websockets`, whoever offers none.
    server = ServerProtocol(subprotocols=[Subprotocol(name) for name in subprotocols] or None)
    server.receive_data(request)
    (seen,) = server.events_received()
    assert isinstance(seen, ServerRequest)
    assert seen.path == address.target
    assert {name: value for name, value in headers.items() if seen.headers[name] != value} == {}
    server.send_response(server.accept(seen))
    answer = b"".join(server.data_to_send())
    assert read_switch(answer, key, subprotocols=subprotocols) == server.subprotocol

    other = WSConnection(ConnectionType.SERVER)
    other.receive_data(request)
    (asked,) = other.events()
    assert isinstance(asked, Request)
    assert (asked.target, asked.subprotocols, asked.extensions) == (address.target, subprotocols, [])
    assert read_switch(other.send(AcceptConnection(subprotocol=wanted)), key, subprotocols=subprotocols) == wanted


@pytest.mark.parametrize(
    "headers", [{"x": "a\r\nb: c"}, {"x\r\n": "a"}, {"": "a"}, {"x y": "a"}, {"x": "é"}, {"x": "a\x00"}]
)
def test_a_header_that_would_become_another_request_is_refused(headers: dict[str, str]):
    with pytest.raises(ValueError, match="cannot be sent"):
        build_request(parse_url("ws://localhost/"), KEY, headers=headers)


def test_a_key_is_new_each_time_and_answered_as_the_standard_says():
    assert len({new_key() for _ in range(100)}) == 100
    assert accept_value(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3


def test_a_refusals_status_and_headers_are_read_whatever_else_is_wrong_with_it():
    head = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After:  7 \r\nstrange\r\nX: 1\r\n\r\n"
    assert read_refusal(head) == (429, {"retry-after": "7", "strange": "", "x": "1"})
    assert read_refusal(b"SSH-2.0-x 200\r\n\r\n")[0] == 502
    assert Headers(read_refusal(head)[1])["Retry-After"] == "7"
