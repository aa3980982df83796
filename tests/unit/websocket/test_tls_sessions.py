"""TLS sessions that are taken up again, as a real server sees them."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import trustme
from websockets.utils import accept_key

from service.errors import HandshakeError
from service.websocket import connect, tls_sessions

LIMIT = 10.0


class TlsServer:
    """Answers upgrades over TLS with `context`, which may be changed; `reused` has what each handshake was."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.reused: list[bool] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            plain, _ = self._listener.accept()
            plain.settimeout(LIMIT)
            with plain, contextlib.suppress(OSError):
                if plain.recv(1, socket.MSG_PEEK) == b"x":
                    return
                with self.context.wrap_socket(plain, server_side=True) as sock:
                    self.reused.append(bool(sock.session_reused))
                    self._answer(sock)

    def _answer(self, sock: ssl.SSLSocket) -> None:
        lines = sock.recv(65_536).split(b"\r\n")
        if b"refuse" in lines[0]:
            sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        key = next(line for line in lines if line.startswith(b"Sec-WebSocket-Key")).partition(b": ")[2]
        fields = f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept_key(key.decode())}"
        sock.sendall(f"HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n\r\n".encode())
        sock.recv(1)

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT) as last:
            last.sendall(b"x")
            self._thread.join()
        self._listener.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> Callable[[], ssl.SSLContext]:
    """A context with its own keys for tickets: nobody else's are known to it."""

    def make(signer: trustme.CA = authority) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        signer.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        return context

    return make


@pytest.fixture
def server(server_context: Callable[[], ssl.SSLContext]) -> Iterator[TlsServer]:
    running = TlsServer(server_context())
    yield running
    running.close()


@pytest.fixture
def context(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the authority."""
    made = ssl.create_default_context()
    authority.configure_trust(made)
    return made


def open_and_close(server: TlsServer, context: ssl.SSLContext, host: str = "127.0.0.1", path: str = "") -> None:
    connect(f"wss://{host}:{server.port}/{path}", ssl_context=context, connect_seconds=LIMIT).abort()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_the_second_connection_takes_up_the_firsts_session(
    server: TlsServer, context: ssl.SSLContext, version: ssl.TLSVersion
):
    context.maximum_version = version
    for _ in range(4):
        open_and_close(server, context)
    assert server.reused == [False, True, True, True]


def test_a_session_serves_no_other_host_and_no_other_context(
    server: TlsServer, context: ssl.SSLContext, authority: trustme.CA
):
    open_and_close(server, context)
    open_and_close(server, context, host="localhost")
    other = ssl.create_default_context()
    authority.configure_trust(other)
    open_and_close(server, other)
    assert server.reused == [False, False, False]


def test_the_certificate_is_looked_at_again_when_the_time_is_up(
    server: TlsServer, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
):
    """From the first connection on: taking a session up does not prolong it."""
    real, passed = time.monotonic, 0.0
    monkeypatch.setattr(time, "monotonic", lambda: real() + passed)
    for periods in (0.0, 0.7, 1.4, 2.1):
        passed = periods * tls_sessions.KEPT_SECONDS
        open_and_close(server, context)
    assert server.reused == [False, True, False, True]


def test_a_server_that_knows_the_ticket_no_more_shows_its_certificate_and_gives_another(
    server: TlsServer, context: ssl.SSLContext, server_context: Callable[..., ssl.SSLContext]
):
    open_and_close(server, context)
    server.context = server_context()
    open_and_close(server, context)
    open_and_close(server, context)
    assert server.reused == [False, False, True]


def test_somebody_else_at_the_same_address_is_not_trusted_for_a_session_that_is_kept(
    server: TlsServer, context: ssl.SSLContext, server_context: Callable[..., ssl.SSLContext]
):
    open_and_close(server, context)
    server.context = server_context(trustme.CA())
    with pytest.raises(ssl.SSLCertVerificationError):
        open_and_close(server, context)


def test_after_a_handshake_that_failed_the_next_one_does_without_a_session(
    server: TlsServer, context: ssl.SSLContext, server_context: Callable[[], ssl.SSLContext]
):
    good = server.context
    open_and_close(server, context)
    server.context = server_context()
    server.context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ssl.SSLError):
        open_and_close(server, context)
    server.context = good
    open_and_close(server, context)
    assert server.reused == [False, False]


def test_a_refused_upgrade_keeps_no_session(server: TlsServer, context: ssl.SSLContext):
    for _ in range(2):
        with pytest.raises(HandshakeError):
            open_and_close(server, context, path="refuse")
    assert server.reused == [False, False]


def test_no_more_than_so_many_sessions_are_kept(
    server: TlsServer, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tls_sessions, "_kept", {})
    monkeypatch.setattr(tls_sessions, "MAX_SESSIONS", 1)
    open_and_close(server, context)
    open_and_close(server, context, host="localhost")
    assert set(tls_sessions._kept) == {(context, ("localhost", server.port))}
