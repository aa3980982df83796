"""The connections to ElevenLabs that requests' adapter keeps and reuses, and how a request and its answer use one.

The key decisions:

* requests' adapter hands a CA file to urllib3, which then parses it again for each new connection (15 ms of CPU that
  silence a whole gevent worker); ours gives every connection the one context instead;
* a request leaves in one write. http.client writes head and body apart, and ElevenLabs' kernel would be woken twice;
* the answer is read by `service.elevenlabs.http_framing` instead of http.client and urllib3's response;
* our connections translate their own failures while connecting, because urllib3 reports a TLS handshake that hangs
  as a read timeout, and then nobody can tell whether the request has left us.

What is left to requests and urllib3: the pool, connecting, TLS, deadlines, and how failures are told.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import queue
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from service.elevenlabs.faults import Phase, error_from_exception
from service.elevenlabs.http_framing import body_of, split_head

READ_BYTES = 65_536
"""What one read takes at most; it returns as soon as there is anything."""

MAX_IDLE_CONNECTIONS = 64
"""Connections kept alive between requests, well above any plan's concurrency; more may be open at a time."""

WIRE_ERRORS = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)

_SOCKET_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)


class WireAnswer:
    """An answer whose head is there: what `HttpAnswer` needs of it.

    `headers` have lower-case names. Whoever reads it closes it, from the same thread.
    """

    def __init__(self, sock: socket.socket) -> None:
        data = b""
        while (found := split_head(data)) is None:
            piece = sock.recv(READ_BYTES)
            if not piece:
                raise http.client.RemoteDisconnected("hung up before the end of the head")
            data += piece
        head, self._rest = found
        self._sock = sock
        self._connection: HTTPConnection | None = None
        self._put_back: Callable[[HTTPConnection], None] | None = None
        self._body = body_of(head)
        self._keeps_alive = head.keeps_alive
        self.status = head.status
        self.headers = head.headers

    def return_to(self, put_back: Callable[[HTTPConnection], None], connection: HTTPConnection) -> None:
        """Have `connection` given to `put_back` in the end."""
        self._put_back, self._connection = put_back, connection

    def read_some(self) -> bytes:
        """What has arrived of the body, as soon as there is anything; `b""` at its end.

        Raises:
            OSError: silence for longer than the read timeout, or the connection is lost.
            HTTPException: the body broke off or its framing is broken.
        """
        piece = b""
        while not piece and not self._body.is_complete:
            data, self._rest = self._rest or self._sock.recv(READ_BYTES), b""
            if data:
                piece = self._body.take(data)
            else:
                self._body.end()
        return piece

    def close(self) -> None:
        """Give the connection back to the pool, ended unless the body was read to its end. May be called again."""
        connection, self._connection = self._connection, None
        if connection is None or self._put_back is None:
            return
        body = self._body
        if self._rest or not body.is_complete or body.has_surplus or not self._keeps_alive:
            connection.close()
        self._put_back(connection)

    def __del__(self) -> None:
        # Of an answer that nobody closed, the connection ends too; urllib3's does the same.
        connection = getattr(self, "_connection", None)  # there is none if the head was not one
        if connection is not None:
            connection.close()


class _Connection(HTTPConnection):
    def request(  # type: ignore[override]  # of its parameters the adapter uses these
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> None:
        """Send a request; its parts are what `HttpTransport` has made and checked."""
        if self.sock is None:
            self.connect()
        lines = [f"{method} {url} HTTP/1.1\r\nhost: {self._host_header}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in (headers or {}).items()]
        self.sock.settimeout(self.timeout)
        data = "".join(lines).encode("ascii") + b"\r\n" + (body or b"")
        # Most requests fit, and gevent's sendall asks the kernel for its buffer's size first.
        taken = self.sock.send(data)
        if taken < len(data):
            self.sock.sendall(memoryview(data)[taken:])

    @functools.cached_property
    def _host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == self.default_port else f"{host}:{self.port}"

    def getresponse(self) -> WireAnswer:  # type: ignore[override]  # it has what is used of urllib3's
        """Wait for the answer's head; from here on the connection's timeout is that for reading."""
        self.sock.settimeout(self.timeout)
        return WireAnswer(self.sock)

    def connect(self) -> None:
        """Connect.

        Raises:
            UpstreamConnectError: it failed. Being no class of urllib3's, it passes through urllib3 and requests.
        """
        try:
            super().connect()
        except WIRE_ERRORS as exc:
            error = error_from_exception(exc, Phase.CONNECT)
        else:
            return
        raise error


class _PlainConnection(_Connection):
    @property
    def is_connected(self) -> bool:
        """Whether the idle connection is still there and silent.

        urllib3 asks with `poll`, which under gevent gives way to every other greenlet first: 13 % of the time that
        opening a conversation took.
        """
        return self.sock is not None and _is_silent(self.sock)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


def _is_silent(sock: socket.socket) -> bool:
    timeout = sock.gettimeout()
    try:
        sock.setblocking(False)
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.settimeout(timeout)
    return False  # the peer has closed, or said what nobody asked for


class _IdleConnections:
    """What urllib3 needs of a `queue.LifoQueue` that is never waited for; its locks cost more than all it does."""

    def __init__(self, maxsize: int) -> None:
        self._most = maxsize
        self._connections: list[Any] = []  # append and pop are atomic

    def get(self, block: bool = False, timeout: float | None = None) -> Any:  # noqa: ARG002 (urllib3's)
        """The one that was used last."""
        try:
            return self._connections.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: Any, block: bool = False) -> None:  # noqa: ARG002 (urllib3's)
        """Keep `connection` for the next request."""
        if len(self._connections) >= self._most:
            raise queue.Full
        self._connections.append(connection)

    def qsize(self) -> int:
        """How many there are."""
        return len(self._connections)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection  # type: ignore[assignment]  # urllib3's Protocol wants its own response class
    QueueCls = _IdleConnections  # type: ignore[assignment]  # it is no LifoQueue, but does as one

    def urlopen(  # type: ignore[override]  # of its parameters the adapter uses these
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout: urllib3.Timeout,
        **_: Any,
    ) -> WireAnswer:
        """Send a request and wait for the answer's head: urllib3's own, without retries, redirects and proxies.

        Raises:
            OSError: no connection, or it was lost, or silence for longer than the timeout.
            HTTPException: the answer is not HTTP.
        """
        connection: Any = self._get_conn()
        try:
            connection.timeout = timeout.connect_timeout
            self._validate_conn(connection)  # connects, if TLS is to be checked
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it hung up
                connection.request(method, url, body, headers)
            connection.timeout = timeout.read_timeout
            answer: WireAnswer = connection.getresponse()
        except BaseException:  # GreenletExit and the like, too: an answer may still come on it
            connection.close()
            self._put_conn(connection)
            raise
        answer.return_to(self._put_conn, connection)
        return answer


class _TlsPool(_Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection  # type: ignore[assignment]  # as above


class SharedContextAdapter(HTTPAdapter):
    """requests' adapter for one host: every connection uses one TLS context and is one of ours.

    What the inherited methods find out for each request (the pool, the proxies, the cookies) is the same for all of
    ours, or nothing.
    """

    def __init__(self, tls_context: ssl.SSLContext | None) -> None:
        self._tls_context = tls_context
        self._pool: Any = None
        super().__init__(pool_connections=2, pool_maxsize=MAX_IDLE_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests', with our connections and their context."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls_context, socket_options=list(_SOCKET_OPTIONS))
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def get_connection_with_tls_context(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """The one pool, found out at the first request."""
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(request, *args, **kwargs)
        return self._pool

    def request_url(self, request: Any, proxies: Any) -> str:  # noqa: ARG002 (requests' names)
        """The path and query: there is no proxy, and `HttpTransport` makes no fragment."""
        return "/" + str(request.url).split("/", 3)[3]

    def build_response(self, req: Any, resp: Any) -> Any:  # noqa: ARG002 (requests' names)
        """The `WireAnswer` itself: half of what a `requests.Response` is made of is a jar for cookies."""
        return resp

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:  # noqa: ARG002 (requests' names)
        """Nothing but that it is verified: the inherited one names a CA file, which each connection would load."""
        conn.cert_reqs = "CERT_REQUIRED"
