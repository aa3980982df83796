"""The answer to an upgrade, judged by the `websockets` library's server and read by its client."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

import flask_sock
import pytest
from flask import Flask
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from service.errors import RequestError
from service.websocket import UpgradedSocket, take_over

Fields = list[tuple[str, str]]
PROPER: Fields = [
    ("Host", "localhost"),
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]
VALUES = {
    # Not an empty one: websockets refuses what RFC 9110 (section 5.6.1) lets pass beside another.
    "Connection": ("keep-alive, upgrade", "keep-alive", "UPGRADE"),
    "Upgrade": ("WebSocket", "h2c", "websocket, h2c"),
    "Sec-WebSocket-Version": ("13", "8", "13, 8", ""),
    "Sec-WebSocket-Key": (
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "short",
        "dGhlIHNhbXBsZSBub25jZQ",
        "*GhlIHNhbXBsZSBub25jZQ==",
        "",
    ),
    "Sec-WebSocket-Extensions": ("permessage-deflate",),
}
FIELDS = st.sampled_from(list(VALUES)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(VALUES[name])))


@st.composite
def requests(draw: st.DrawFn) -> Fields:
    """An upgrade's fields, some missing, some there twice or wrong."""
    kept = [field for field in PROPER[1:] if draw(st.integers(0, 9))]
    return [PROPER[0], *draw(st.permutations([*kept, *draw(st.lists(FIELDS, max_size=2))]))]


def environ_of(fields: Iterable[tuple[str, str]], sock: Any = None) -> dict[str, Any]:
    """What gunicorn makes of a request with these fields: repeated ones are joined."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "PATH_INFO": "/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "gunicorn.socket": sock,
    }
    for name, value in fields:
        key = "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def answer_to(fields: Iterable[tuple[str, str]], *subprotocols: str) -> bytes | None:
    """Everything that we write, None if the request is refused."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            upgraded = UpgradedSocket(environ_of(fields, ours), subprotocols=subprotocols)
        except RequestError:
            written = None
        else:
            assert upgraded.connected
            upgraded.close()
        ours.shutdown(socket.SHUT_WR)
        written = theirs.recv(65_536)
        return written or None


def is_accepted_by_websockets(fields: Fields) -> bool:
    server = ServerProtocol()
    text = "GET / HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    server.receive_data(text.encode())
    (request,) = server.events_received()
    assert isinstance(request, Request)
    return server.accept(request).status_code == 101


@given(requests())
@example(PROPER)
@example([*PROPER, ("Connection", "keep-alive")])
@example([*PROPER, PROPER[4]])
def test_an_upgrade_is_answered_if_and_only_if_websockets_would(fields: Fields):
    assert (answer_to(fields) is not None) == is_accepted_by_websockets(fields)


@pytest.mark.parametrize(
    "changed", [{"REQUEST_METHOD": "POST"}, {"SERVER_PROTOCOL": "HTTP/1.0"}, {"HTTP_HOST": ""}], ids=str
)
def test_what_only_looks_like_an_upgrade_is_refused_before_anything_is_written(changed: dict[str, str]):
    with pytest.raises(RequestError, match="not a WebSocket upgrade"):
        UpgradedSocket({**environ_of(PROPER), **changed})


@given(
    st.lists(st.sampled_from(["convai", "bearer.x", "other"]), unique=True),
    st.lists(st.sampled_from(["convai", "other"]), unique=True, max_size=2),
)
def test_a_client_of_websockets_takes_our_answer_and_only_what_it_offered_is_chosen(
    offered: list[str], ours: list[str]
):
    client = ClientProtocol(parse_uri("ws://localhost/"), subprotocols=[Subprotocol(name) for name in offered] or None)
    request = client.connect()
    client.send_request(request)
    answer = answer_to(request.headers.raw_items(), *ours)
    assert answer is not None
    client.receive_data(answer)
    assert client.handshake_exc is None
    assert client.subprotocol == next((name for name in offered if name in ours), None)


def test_flask_sock_answers_with_what_we_put_in_its_place(monkeypatch: pytest.MonkeyPatch):
    """It has no option for it: a release that looks for its `Server` elsewhere would bring back the slow one unseen."""
    monkeypatch.setattr(flask_sock, "Server", UpgradedSocket)
    app, seen = Flask(__name__), []
    app.config["SOCK_SERVER_OPTIONS"] = {"subprotocols": ["convai"], "thread_class": object}
    flask_sock.Sock(app).route("/")(seen.append)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(StopIteration):  # which tells gunicorn that it has nothing to answer
        app(environ_of([*PROPER, ("Sec-WebSocket-Protocol", "x, convai")], ours), lambda *_: lambda _: None)
    (handshaken,) = seen
    assert isinstance(handshaken, UpgradedSocket)
    assert handshaken.subprotocol == "convai"


def test_the_socket_is_taken_over_with_its_subprotocol():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as theirs:
        ours, _ = listener.accept()
        offer = ("Sec-WebSocket-Protocol", "convai")
        connection = take_over(UpgradedSocket(environ_of([*PROPER, offer], ours), subprotocols=["convai"]))
        assert connection.subprotocol == "convai"
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.abort()
        head, _, rest = theirs.recv(65_536).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert rest == b""
