"""How the provider is asked: within a time, within a length, and it cannot send us elsewhere.

The key decision: the bounds are in the transport, so that whatever asks through it (Authlib's own requests too) has
them. Proxies and authorities of the environment hold, as they do for other programs of the operator's.
"""

from __future__ import annotations

import io
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

CONNECT_SECONDS, READ_SECONDS, WHOLE_SECONDS = 3.0, 5.0, 8.0
MOST_BYTES = 512_000
_AT_ONCE = 16_384


class TooLongError(requests.RequestException):
    """The answer has more bytes than any that we want."""


class BoundedAdapter(HTTPAdapter):
    """Reads each answer whole, at once, and not beyond the bounds.

    `send` raises RequestException when there is no answer within them.
    """

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Ask; the bounds above take the place of whatever time limits the caller has."""
        until = time.monotonic() + WHOLE_SECONDS
        options |= {"stream": True, "timeout": (CONNECT_SECONDS, READ_SECONDS)}
        response = super().send(request, **options)
        try:
            body = _read(response, until)
        except HTTPError as exc:
            raise requests.ConnectionError("the answer broke off") from exc
        finally:
            response.close()
        response.raw = io.BytesIO(body)
        response.headers.pop("Content-Encoding", None)  # it is unpacked already
        return response


def bound(session: requests.Session) -> None:
    """Let everything that `session` asks have the bounds."""
    for scheme in ("https://", "http://"):
        session.mount(scheme, BoundedAdapter())


def _read(response: requests.Response, until: float) -> bytes:
    body = bytearray()
    # Piece by piece as they come: a server that drips must not outlast the whole time with single bytes.
    while piece := response.raw.read1(_AT_ONCE, decode_content=True):
        body += piece
        if len(body) > MOST_BYTES:
            raise TooLongError(f"the answer has more than {MOST_BYTES} bytes")
        if time.monotonic() > until:
            raise requests.Timeout(f"the answer took more than {WHOLE_SECONDS:g} s")
    return bytes(body)
