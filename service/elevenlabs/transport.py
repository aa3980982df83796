"""HTTP to ElevenLabs: one requests session, one TLS context, and reads that return what has arrived.

The key decisions:

* requests' adapter hands a CA file to urllib3, which then parses it again for each new connection (15 ms of CPU that
  silence a whole gevent worker); ours gives every connection the one context instead;
* our connections translate their own failures while connecting, because urllib3 reports a TLS handshake that hangs
  as a read timeout, and then nobody can tell whether the request has left us;
* a request is put together by hand and given to the adapter itself: `requests.Session` spends as much CPU on what is
  then not used (cookies, redirects, proxies, the environment) as the request takes (docs/performance.md);
* nothing is retried and no redirect is followed here: what may be repeated is for `service.retry` to say.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlencode

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPConnection, HTTPSConnection

from service.elevenlabs.faults import MAX_ERROR_BODY_BYTES, Phase, error_from_exception, error_from_response
from service.errors import UpstreamError, UpstreamKeyError, UpstreamProtocolError

Query = Mapping[str, str] | Sequence[tuple[str, str]]

READ_BYTES = 65_536
"""What one read takes at most; it returns as soon as there is anything."""

MAX_IDLE_CONNECTIONS = 64
"""Connections kept alive between requests, well above any plan's concurrency; more may be open at a time."""

_WIRE_ERRORS = (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)

_SOCKET_OPTIONS = (
    # A request is head and body in two writes; Nagle's algorithm would hold the second back for a round trip.
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
)


class HttpAnswer:
    """An open answer with status 200. Read it and close it from one thread; leaving its `with` block closes it.

    `headers` ignore case.
    """

    def __init__(self, response: requests.Response) -> None:
        self._response = response
        self.headers: Mapping[str, str] = response.headers

    def read_some(self) -> bytes:
        """What has arrived, as soon as there is anything; `b""` at the end.

        Raises:
            UpstreamTimeoutError: silence for longer than the read timeout; the answer is closed.
            UpstreamProtocolError: the body broke off; the answer is closed.
        """
        try:
            return bytes(self._response.raw.read1(READ_BYTES, decode_content=False) or b"")
        except _WIRE_ERRORS as exc:
            error = error_from_exception(exc, Phase.BODY)
        except BaseException:  # GreenletExit and the like: an answer read half-way must not return to the pool
            self.close()
            raise
        self.close()
        raise error

    def read_all(self, max_bytes: int) -> bytes:
        """The rest of the body.

        Raises:
            UpstreamProtocolError: it broke off, or is longer than `max_bytes`.
            UpstreamTimeoutError: as `read_some`.
        """
        with self:
            pieces, size = [], 0
            while piece := self.read_some():
                pieces.append(piece)
                size += len(piece)
                if size > max_bytes:
                    raise UpstreamProtocolError(
                        f"ElevenLabs' answer is longer than {max_bytes} bytes.", code="answer_too_long"
                    )
            return b"".join(pieces)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else end it. May be called again."""
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class HttpTransport:
    """A pool of keep-alive connections to `base_url`. `tls_context` is needed for an `https:` one."""

    def __init__(
        self,
        base_url: str,
        *,
        tls_context: ssl.SSLContext | None,
        connect_seconds: float,
        read_seconds: float,
    ) -> None:
        self._base_url = base_url
        self._timeout = (connect_seconds, read_seconds)
        self._read_seconds = read_seconds
        self._adapter = _SharedContextAdapter(tls_context)

    def send(self, method: str, path: str, *, key: str, query: Query = (), body: bytes | None = None) -> HttpAnswer:
        """Send a request and return its answer as soon as the head is there, if it is a 200.

        `path` is quoted already. `body` is JSON.

        Raises:
            UpstreamError: whatever else came of it, see `service.elevenlabs.faults`.
        """
        request = self._prepare(method, path, key, query, body)
        try:
            response = self._adapter.send(request, stream=True, timeout=self._timeout)
        except _WIRE_ERRORS as exc:
            # Raised below, outside of the handler: the exception carries the request, and that the key.
            error = error_from_exception(exc, Phase.ANSWER)
        else:
            if response.status_code == http.HTTPStatus.OK:
                return HttpAnswer(response)
            error = self._read_error(response, key)
        raise error

    def _prepare(self, method: str, path: str, key: str, query: Query, body: bytes | None) -> requests.PreparedRequest:
        headers = {
            "xi-api-key": _checked_key(key),
            "accept": "*/*",
            "accept-encoding": "identity",  # audio does not shrink, and a decoder would hold bytes back
            "user-agent": "vocero",
        }
        if body is not None:
            headers |= {"content-type": "application/json", "content-length": str(len(body))}
        elif method == "POST":
            headers["content-length"] = "0"
        pairs = urlencode(list(query.items()) if isinstance(query, Mapping) else list(query))
        request = requests.PreparedRequest()
        request.method = method
        request.url = self._base_url + path + (f"?{pairs}" if pairs else "")
        request.headers = CaseInsensitiveDict(headers)
        request.body = body
        return request

    def _read_error(self, response: requests.Response, key: str) -> UpstreamError:
        body = _read_bounded(response, time.monotonic() + self._read_seconds)
        # A debugging proxy may answer with the request's headers.
        return error_from_response(response.status_code, response.headers, body.replace(key.encode(), b"[key]"))

    def close(self) -> None:
        """End the idle connections; answers still open end their own."""
        self._adapter.close()


def make_tls_context(ca_bundle: str | None = None) -> ssl.SSLContext:
    """A context that verifies against certifi's roots, or against the CA certificates in the file `ca_bundle`."""
    return ssl.create_default_context(cafile=ca_bundle or certifi.where())


def _checked_key(key: str) -> str:
    # requests quotes a header value that it refuses in its exception, and http.client keeps it in one.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UpstreamKeyError(
            "The configured ElevenLabs key is empty or has characters that no key has.", code="invalid_api_key"
        )
    return key


def _read_bounded(response: requests.Response, deadline: float) -> bytes:
    """The body of an error, as much as comes before `deadline` and fits: the status counts more than its words."""
    body = b""
    answer = HttpAnswer(response)
    with answer:
        try:
            while len(body) <= MAX_ERROR_BODY_BYTES and time.monotonic() < deadline and (piece := answer.read_some()):
                body += piece
        except UpstreamError:
            pass  # what came before it broke off may be enough
    return body


# --- Connections ---------------------------------------------------------------------------------------------------


class _Response(http.client.HTTPResponse):
    """With a read buffer for several chunks: the 8 kB of http.client cut each chunk of that size in three."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()  # nothing was read yet
        self.fp = cast("io.BufferedReader", sock.makefile("rb", READ_BYTES))


class _Connection(HTTPConnection):
    response_class = _Response

    @property
    def is_connected(self) -> bool:
        """Whether the idle connection is still there and silent.

        urllib3 asks with `poll`, which under gevent gives way to every other greenlet first: 13 % of the time that
        opening a conversation took.
        """
        return self.sock is not None and _is_silent(self.sock)

    def connect(self) -> None:
        _connect(super().connect)


class _TlsConnection(HTTPSConnection):
    response_class = _Response

    def connect(self) -> None:
        _connect(super().connect)


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


def _connect(connect: Any) -> None:
    try:
        connect()
    except _WIRE_ERRORS as exc:
        error = error_from_exception(exc, Phase.CONNECT)
    else:
        return
    raise error  # no class of urllib3's, so it passes through urllib3 and requests as it is


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _SharedContextAdapter(HTTPAdapter):
    """requests' adapter for one host: every connection uses one TLS context and is one of ours.

    What the inherited methods find out for each request (the pool, the proxies, the cookies) is the same for all of
    ours, or nothing.
    """

    def __init__(self, tls_context: ssl.SSLContext | None) -> None:
        self._tls_context = tls_context
        self._pool: Any = None
        super().__init__(pool_connections=2, pool_maxsize=MAX_IDLE_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls_context, socket_options=list(_SOCKET_OPTIONS))
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def get_connection_with_tls_context(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(request, *args, **kwargs)
        return self._pool

    def request_url(self, request: Any, proxies: Any) -> str:  # noqa: ARG002 (requests' names)
        path: str = request.path_url
        return path

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        response = requests.Response()
        response.status_code = resp.status
        response.headers = resp.headers  # ignores case as requests' own does
        response.raw = resp
        response.request = req
        return response

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:  # noqa: ARG002 (requests' names)
        # The inherited one names a CA file on the pool, which urllib3 loads again for each new connection.
        conn.cert_reqs = "CERT_REQUIRED"
