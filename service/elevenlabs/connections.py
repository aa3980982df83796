"""The connections to ElevenLabs that HTTP requests are sent on, and how a request and its answer use one.

The key decisions:

* they are kept by `service.connection_pool` and not by urllib3's pool, so that there is a bound to how many there are,
  those that wait for one are served in turn, and one that has lain too long is not used. A connection is used again
  only after an answer that was read to its clean end;
* requests' adapter hands a CA file to urllib3, which then parses it again for each new connection (15 ms of CPU that
  silence a whole gevent worker); ours gives every connection the one context instead;
* a request leaves in one write. http.client writes head and body apart, and ElevenLabs' kernel would be woken twice;
* the answer is read by `service.elevenlabs.http_framing` instead of http.client and urllib3's response;
* our connections translate their own failures while connecting, because urllib3 reports a TLS handshake that hangs
  as a read timeout, and then nobody can tell whether the request has left us.

What is left to requests and urllib3: connecting, TLS, deadlines, and how failures are told.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from service.connection_pool import ConnectionPool, Lent
from service.deadline import SHORTEST_TIMEOUT, within_deadline
from service.elevenlabs.faults import Phase, error_from_exception
from service.elevenlabs.http_framing import body_of, split_head
from service.elevenlabs.pool_options import PoolOptions
from service.hedging import watch
from service.metrics_elevenlabs import PoolName
from service.websocket import is_quiet, open_tcp

READ_BYTES = 65_536
"""What one read takes at most; it returns as soon as there is anything."""

WIRE_ERRORS = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)


class WireAnswer:
    """An answer whose head is there: what `HttpAnswer` needs of it.

    `headers` have lower-case names. Whoever reads it closes it, from the same thread.
    """

    def __init__(self, sock: socket.socket, read_seconds: float) -> None:
        data = b""
        while (found := split_head(data)) is None:
            sock.settimeout(within_deadline(read_seconds))
            piece = sock.recv(READ_BYTES)
            if not piece:
                raise http.client.RemoteDisconnected("hung up before the end of the head")
            data += piece
        head, self._rest = found
        self._sock = sock
        self._read_seconds = read_seconds
        self._is_untouched = True
        sock.settimeout(within_deadline(read_seconds))
        self._lent: Lent[Any] | None = None
        self.received = 0  # bytes of the body
        self._body = body_of(head)
        self._keeps_alive = head.keeps_alive
        self.status = head.status
        self.headers = head.headers

    @property
    def is_complete(self) -> bool:
        """Whether the body was read to its end."""
        return self._body.is_complete

    def return_to(self, lent: Lent[Any]) -> None:
        """Have the connection, which is `lent`, given back in the end."""
        self._lent = lent

    def read_some(self) -> bytes:
        """What has arrived of the body, as soon as there is anything; `b""` at its end.

        Raises:
            OSError: silence for longer than the read timeout, or the connection is lost.
            HTTPException: the body broke off or its framing is broken.
        """
        piece = b""
        while not piece and not self._body.is_complete:
            data, self._rest = self._rest or self._sock.recv(READ_BYTES), b""
            if self._is_untouched:  # the first piece was due by the call's deadline, for the others only silence counts
                self._is_untouched = False
                self._sock.settimeout(self._read_seconds)
            if data:
                piece = self._body.take(data)
            else:
                self._body.end()
        self.received += len(piece)
        return piece

    def close(self) -> None:
        """Give the connection back to the pool, ended unless the body was read to its end. May be called again."""
        lent, self._lent = self._lent, None
        if lent is None:
            return
        body = self._body
        if self._rest or not body.is_complete or body.has_surplus or not self._keeps_alive:
            lent.discard()
        else:
            lent.give_back()


class _Connection(HTTPConnection):
    timeout: float  # it is set for each request

    def request(  # type: ignore[override]  # of its parameters the adapter uses these
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> None:
        """Send a request; its parts are what `HttpTransport` has made and checked."""
        lines = [f"{method} {url} HTTP/1.1\r\nhost: {self._host_header}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in (headers or {}).items()]
        watch(self.sock)
        self.sock.settimeout(within_deadline(self.timeout))
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
        """Wait for the answer's head; the connection's timeout is that for reading, cut to the call's deadline."""
        return WireAnswer(self.sock, self.timeout)

    def _new_conn(self) -> socket.socket:
        # urllib3's own gives each address the whole time, and the look-up of the name any time: who waits for a
        # connection would be gone before it comes, and with it the chance to try again.
        sock, left = open_tcp(self.host.strip("[]"), self.port or self.default_port, seconds=self.timeout)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.settimeout(max(SHORTEST_TIMEOUT, left))  # for TLS
        return sock

    def connect(self) -> None:
        """Connect, within the timeout: the look-up of the name, TCP and TLS.

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

    def is_healthy(self) -> bool:
        """Whether it is still there and silent, having lain idle."""
        return is_quiet(self.sock)


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection  # type: ignore[assignment]  # urllib3's Protocol wants its own response class
    kept: ConnectionPool[Any]
    take_seconds: float

    def open_connection(self, connect_seconds: float) -> Any:
        """A new connection, connected.

        Raises:
            UpstreamConnectError: it could not be.
        """
        connection: Any = self._new_conn()
        connection.timeout = connect_seconds
        try:
            connection.connect()
        except BaseException:  # a socket without TLS may be left
            connection.close()
            raise
        return connection

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
        lent = self.kept.take(within_deadline(self.take_seconds))
        connection = lent.connection
        try:
            connection.timeout = timeout.connect_timeout
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have answered before it hung up
                connection.request(method, url, body, headers)
            connection.timeout = timeout.read_timeout
            answer: WireAnswer = connection.getresponse()
        except BaseException:  # GreenletExit and the like, too: an answer may still come on it
            lent.discard()
            raise
        answer.return_to(lent)
        return answer


class _TlsPool(_Pool, urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection  # type: ignore[assignment]  # as above


class SharedContextAdapter(HTTPAdapter):
    """requests' adapter for one host: every connection is one of ours, from our pool, and uses one TLS context.

    What the inherited methods find out for each request (the pool, the proxies, the cookies) is the same for all of
    ours, or nothing.
    """

    def __init__(
        self, base_url: str, *, tls_context: ssl.SSLContext | None, options: PoolOptions, connect_seconds: float
    ) -> None:
        self._tls_context = tls_context
        super().__init__(pool_connections=1)
        pool: Any = self.poolmanager.connection_from_url(base_url)
        # The inherited `cert_verify` would name a CA file, which each connection would load.
        pool.cert_reqs = "CERT_REQUIRED"
        self._pool = pool
        self.kept: ConnectionPool[Any] = options.make_pool(
            lambda: pool.open_connection(connect_seconds),
            name=PoolName.SPEECH,
            close_connection=lambda connection: connection.close(),
            is_healthy=_Connection.is_healthy,
        )
        pool.kept, pool.take_seconds = self.kept, options.timeout_seconds

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests', with our connections and their context."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls_context)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 (requests' names)
        """The one pool."""
        return self._pool

    def request_url(self, request: Any, proxies: Any) -> str:  # noqa: ARG002 (requests' names)
        """The path and query: there is no proxy, and `HttpTransport` makes no fragment."""
        return "/" + str(request.url).split("/", 3)[3]

    def build_response(self, req: Any, resp: Any) -> Any:  # noqa: ARG002 (requests' names)
        """The `WireAnswer` itself: half of what a `requests.Response` is made of is a jar for cookies."""
        return resp

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing: it is verified, by the one context."""
