"""HTTP to ElevenLabs: one adapter of requests, one TLS context, and reads that return what has arrived.

The key decisions (those about connections are in `service.elevenlabs.connections`):

* a request is put together by hand and given to the adapter itself: `requests.Session` spends as much CPU on what is
  then not used (cookies, redirects, proxies, the environment) as the request takes (docs/performance.md);
* nothing is retried and no redirect is followed here: what may be repeated is for `service.retry` to say.
"""

from __future__ import annotations

import http
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlencode

import certifi
import requests
import urllib3

from service.connection_pool import ConnectionPool
from service.deadline import within_deadline
from service.elevenlabs.connections import WIRE_ERRORS, SharedContextAdapter, WireAnswer
from service.elevenlabs.faults import MAX_ERROR_BODY_BYTES, Phase, error_from_exception, error_from_response
from service.elevenlabs.pool_options import PoolOptions
from service.errors import SettingsError, UpstreamError, UpstreamKeyError, UpstreamProtocolError
from service.secret import Secret

Query = Mapping[str, str] | Sequence[tuple[str, str]] | str
"""Fields of a query, or a whole one that is encoded already."""

_URL_CHARACTERS = re.compile(r"[!-~]+")
ONLY_OK = frozenset[int]({http.HTTPStatus.OK})


class HttpAnswer:
    """An open answer that is a success. Read it and close it from one thread; leaving its `with` block closes it.

    `headers` have lower-case names. `on_close` is called once it is over, and then `on_over` with it.
    """

    def __init__(self, answer: WireAnswer) -> None:
        self._answer = answer
        self.on_close: Callable[[], None] | None = None
        self.on_over: Callable[[HttpAnswer], None] | None = None
        self.failure: UpstreamError | None = None
        """Why it broke off."""
        self._ahead = b""
        self.headers = answer.headers

    @property
    def received(self) -> int:
        """Bytes of the body that have come."""
        return self._answer.received

    @property
    def is_complete(self) -> bool:
        """Whether all of the body has come."""
        return self._answer.is_complete

    def wait_for_body(self) -> None:
        """Wait for what the next `read_some` gives; raises as that."""
        self._ahead = self.read_some()

    def read_some(self) -> bytes:
        """What has arrived, as soon as there is anything; `b""` at the end.

        Raises:
            UpstreamTimeoutError: silence for longer than the read timeout; the answer is closed.
            UpstreamProtocolError: the body broke off; the answer is closed.
        """
        if self._ahead:
            piece, self._ahead = self._ahead, b""
            return piece
        try:
            return self._answer.read_some()
        except WIRE_ERRORS as exc:
            self.failure = error = error_from_exception(exc, Phase.BODY)
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
                    self.failure = UpstreamProtocolError(
                        f"ElevenLabs' answer is longer than {max_bytes} bytes.", code="answer_too_long"
                    )
                    raise self.failure
            return b"".join(pieces)

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else end it. May be called again."""
        self._answer.close()
        on_close, self.on_close = self.on_close, None
        on_over, self.on_over = self.on_over, None
        if on_close is not None:
            on_close()
        if on_over is not None:
            on_over(self)

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
        options: PoolOptions,
    ) -> None:
        self._base_url = base_url
        # requests takes it ready-made too, which its types do not say.
        self._timeout: Any = urllib3.Timeout(connect=connect_seconds, read=read_seconds)
        self._read_seconds = read_seconds
        self._adapter = SharedContextAdapter(
            base_url, tls_context=tls_context, options=options, connect_seconds=connect_seconds
        )

    @property
    def pool(self) -> ConnectionPool[Any]:
        """The connections."""
        return self._adapter.kept

    def start(self) -> None:
        """Begin to keep connections."""
        self._adapter.kept.start()

    def drain(self) -> None:
        """Use no connection of now for another request."""
        self._adapter.kept.drain()

    def send(
        self,
        method: str,
        path: str,
        *,
        key: Secret,
        query: Query = (),
        body: bytes | None = None,
        accepts: frozenset[int] = ONLY_OK,
    ) -> HttpAnswer:
        """Send a request and return its answer as soon as the head is there, if its status is one of `accepts`.

        `path` is quoted already. `body` is JSON.

        Raises:
            CapacityError: no connection was to be had in time; nothing was sent.
            UpstreamError: whatever else came of it, see `service.elevenlabs.faults`.
        """
        request = self._prepare(method, path, key, query, body)
        try:
            answer = cast("WireAnswer", self._adapter.send(request, stream=True, timeout=self._timeout))
        except WIRE_ERRORS as exc:
            # Raised below, outside of the handler: the exception carries the request, and that the key.
            error = error_from_exception(exc, Phase.ANSWER)
        else:
            if answer.status in accepts:
                return HttpAnswer(answer)
            error = self._read_error(answer, key)
        raise error

    def _prepare(
        self, method: str, path: str, key: Secret, query: Query, body: bytes | None
    ) -> requests.PreparedRequest:
        headers = {
            "xi-api-key": _checked_key(key.reveal()),
            "accept": "*/*",
            "accept-encoding": "identity",  # audio does not shrink, and a decoder would hold bytes back
            "user-agent": "vocero",
        }
        if body is not None:
            headers |= {"content-type": "application/json", "Content-Length": str(len(body))}
        elif method == "POST":
            headers["Content-Length"] = "0"
        if not isinstance(query, str):
            query = urlencode(query)
        request = requests.PreparedRequest()
        request.method = method
        request.url = _checked_url(self._base_url + path + (f"?{query}" if query else ""))
        request.headers = headers  # type: ignore[assignment]  # one that ignores case costs more than it is worth here
        request.body = body
        return request

    def _read_error(self, answer: WireAnswer, key: Secret) -> UpstreamError:
        body = _read_bounded(HttpAnswer(answer), time.monotonic() + within_deadline(self._read_seconds))
        # A debugging proxy may answer with the request's headers.
        return error_from_response(answer.status, answer.headers, body.replace(key.reveal().encode(), b"[key]"))

    def close(self) -> None:
        """End the idle connections; answers still open end their own."""
        self._adapter.kept.close()
        self._adapter.close()


def make_tls_context(ca_bundle: str | None = None) -> ssl.SSLContext:
    """A context that verifies against certifi's roots, or against the CA certificates in the file `ca_bundle`.

    Raises:
        SettingsError: that file cannot be read, or has no certificates.
    """
    try:
        return ssl.create_default_context(cafile=ca_bundle or certifi.where())
    except OSError as exc:  # ssl.SSLError is one: what is no certificate
        reason = "has no certificates (PEM)" if isinstance(exc, ssl.SSLError) else f"cannot be read ({exc.strerror})"
        raise SettingsError(f"VOCERO_UPSTREAM_CA_FILE: {ca_bundle} {reason}.") from None


def _checked_url(url: str) -> str:
    # It is written into the request's first line as it is.
    if not _URL_CHARACTERS.fullmatch(url):
        raise ValueError("a URL has a character that must be quoted")
    return url


def _checked_key(key: str) -> str:
    # requests quotes a header value that it refuses in its exception, and http.client keeps it in one.
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UpstreamKeyError(
            "The configured ElevenLabs key is empty or has characters that no key has.", code="invalid_api_key"
        )
    return key


def _read_bounded(answer: HttpAnswer, deadline: float) -> bytes:
    """The body of an error, as much as comes before `deadline` and fits: the status counts more than its words."""
    body = b""
    with answer:
        try:
            while len(body) <= MAX_ERROR_BODY_BYTES and time.monotonic() < deadline and (piece := answer.read_some()):
                body += piece
        except UpstreamError:
            pass  # what came before it broke off may be enough
    return body
