"""The connection to Vault: one TLS context, an answer of bounded size in bounded time, no redirection, no proxy.

The key decision: hvac knows Vault's routes, but its exceptions have lost the status (412, 472 and 473 are all
`UnexpectedError`) and carry the whole answer. So its adapter raises nothing here, and `service.vault.faults` reads the
answer instead.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import certifi
import hvac
import hvac.adapters
import requests
import structlog
import urllib3
from requests.adapters import HTTPAdapter

from service.errors import SecretsSourceError, SettingsError
from service.metrics import FailureCause

log = structlog.get_logger(__name__)

MAX_ANSWER_BYTES = 1024 * 1024
"""What a path with a few secrets in it can never have (Vault's own bound is 32 MiB)."""

_PIECE_BYTES = 65_536


class BoundedSession(requests.Session):
    """A session that reads at most 1 MiB of an answer, and for at most its timeout, however slowly it comes."""

    def __init__(self, tls_context: ssl.SSLContext | None) -> None:
        super().__init__()
        self.trust_env = False  # ~/.netrc and REQUESTS_CA_BUNDLE have no say in whom we trust with a token
        for scheme in ("http://", "https://"):
            self.mount(scheme, _BoundedAdapter(tls_context))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As requests', with the body read.

        Raises:
            SecretsSourceError: the body is too large.
            RequestException: as requests'.
        """
        response = super().send(request, **{**kwargs, "stream": True})
        body = b""
        with response:
            for piece in response.iter_content(_PIECE_BYTES):
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise SecretsSourceError(
                        f"Vault's answer has more than {MAX_ANSWER_BYTES} bytes: that cannot be our secrets.",
                        cause=FailureCause.BAD_VALUE,
                    )
        response._content = body  # requests' own place for it; `content` would read it without a bound
        return response

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 (requests' name)
        """None: requests would read a redirection's whole body to find out where it could go."""
        return


class _HastyFile(io.RawIOBase):
    """What a socket brings until `deadline`: its own timeout begins anew with each byte."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        super().__init__()
        self._sock, self._deadline = sock, deadline
        self._file: Any = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        count: int | None = self._file.readinto(buffer)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _HastyResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        seconds = sock.gettimeout()
        self.fp.close()
        self.fp = io.BufferedReader(_HastyFile(sock, time.monotonic() + (seconds or 0.0)))


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _HastyResponse


class _TlsConnection(urllib3.connection.HTTPSConnection):
    response_class = _HastyResponse


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _BoundedAdapter(HTTPAdapter):
    """requests' adapter with our connections and our context: its own would load the CA file for each connection."""

    def __init__(self, tls_context: ssl.SSLContext | None) -> None:
        self._tls_context = tls_context
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As requests', with our context."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._tls_context)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ARG002 (requests' names)
        """Leave it to the context."""
        checks = self._tls_context is not None and self._tls_context.verify_mode is ssl.CERT_REQUIRED
        conn.cert_reqs = "CERT_REQUIRED" if checks else "CERT_NONE"


class QuietAdapter(hvac.adapters.RawAdapter):  # type: ignore[misc]  # hvac has no types
    """hvac's adapter that gives back what is of no use instead of raising an exception that quotes it."""

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """The object of a 200 with one in it, else the `requests.Response`."""
        response = super().request(*args, **{**kwargs, "raise_exception": False})
        document = document_of(response) if response.status_code == requests.codes.ok else None
        return response if document is None else document


def document_of(response: requests.Response) -> dict[str, Any] | None:
    """The JSON object that is in it; None if there is none."""
    try:
        found = response.json()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def make_vault_context(address: str, ca_file: Path | None, *, verify: bool) -> ssl.SSLContext | None:
    """The TLS context for `address`, made once (15 ms of CPU); None for plain http.

    Raises:
        SettingsError: `ca_file` cannot be used.
    """
    if not address.startswith("https://"):
        return None
    try:
        context = ssl.create_default_context(cafile=str(ca_file or certifi.where()))
    except OSError as exc:
        raise SettingsError(f"VAULT_CACERT: {ca_file} cannot be used ({exc.strerror or exc}).") from None
    if not verify:
        log.warning("Vault's certificate is not checked")
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # it would say so for each request
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
