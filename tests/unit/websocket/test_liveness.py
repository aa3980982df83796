"""Whether an idle connection is still there, over real sockets, plain and with TLS 1.3."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trustme

from scripts.launcher.waiting import wait_until
from service.websocket import is_quiet

LIMIT = 10.0


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def connected(authority: trustme.CA | None) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection, over TLS if there is an authority."""
    ours, theirs = socket.socketpair()
    if authority is not None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(server)
        client = ssl.create_default_context()
        authority.configure_trust(client)
        found: list[socket.socket] = []
        shaking = threading.Thread(target=lambda: found.append(server.wrap_socket(theirs, server_side=True)))
        shaking.start()
        ours = client.wrap_socket(ours, server_hostname="localhost")
        shaking.join(LIMIT)
        theirs = found[0]
    ours.settimeout(LIMIT)
    theirs.settimeout(LIMIT)
    with ours, theirs:
        yield ours, theirs


@pytest.fixture(params=["plain", "tls"])
def ends(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[tuple[socket.socket, socket.socket]]:
    with connected(authority if request.param == "tls" else None) as found:
        yield found


def test_a_connection_on_which_nothing_was_said_is_quiet_and_can_be_used(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """Over TLS 1.3 the server's tickets lie unread in it, which `select` and `poll` take for an end or for data."""
    ours, theirs = ends
    assert [is_quiet(ours) for _ in range(3)] == [True] * 3
    assert ours.gettimeout() == LIMIT
    theirs.sendall(b"x")
    assert ours.recv(10) == b"x"
    assert is_quiet(ours)


def test_one_whose_peer_has_gone_is_not(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.shutdown(socket.SHUT_RDWR)
    theirs.close()
    wait_until(lambda: not is_quiet(ours), LIMIT, "the end to arrive")


def test_one_whose_peer_speaks_unasked_is_not(ends: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = ends
    theirs.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert not is_quiet(ours)


def test_a_goodbye_of_tls_is_an_end_even_if_the_connection_stands(authority: trustme.CA) -> None:
    with connected(authority) as (ours, theirs):
        assert isinstance(theirs, ssl.SSLSocket)
        theirs.settimeout(0.0)
        with pytest.raises(ssl.SSLWantReadError):  # it has sent its goodbye and would wait for ours
            theirs.unwrap()
        assert not is_quiet(ours)


def test_a_closed_one_is_not() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert not is_quiet(ours)
