"""Any OpenAI-compatible endpoint over HTTP: one question, one bounded answer.

The key decision: every answer is read whole within bounds of time and size, because the local part takes over when one
fails, and nothing of half an answer may have been said by then. An error never quotes the endpoint's answer, which may
quote the user.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson
import requests
from pydantic import SecretStr
from requests.adapters import HTTPAdapter

from service.errors import VoceroError
from service.metrics import PartFailure

CONNECTIONS = 16
_CHUNK_BYTES = 65_536


class EndpointError(VoceroError):
    """The endpoint did not do what was asked: let the local part do it.

    `cause` is for the metric. `hint` is a word of the endpoint's own error, if it is one that is looked for.
    """

    def __init__(self, message: str, *, cause: PartFailure, status: int | None = None, body: bytes = b"") -> None:
        super().__init__(message)
        self.cause = cause
        self.status = status
        self._body = body

    def mentions(self, word: bytes) -> bool:
        """Whether the endpoint's own error has `word` in it."""
        return word in self._body


class OpenAiEndpoint:
    """The endpoint at `base_url` (no slash at the end). `seconds` bound one answer, connecting included (twice that at
    worst: it is looked at between reads, and one read may take as long)."""

    def __init__(self, base_url: str, *, key: SecretStr | None, seconds: float) -> None:
        self._base_url = base_url
        self._seconds = seconds
        self._session = requests.Session()
        self._session.trust_env = False  # neither a proxy nor a .netrc of this machine is meant for it
        adapter = HTTPAdapter(pool_maxsize=CONNECTIONS)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)
        if key is not None:
            self._session.headers["Authorization"] = f"Bearer {key.get_secret_value()}"

    def close(self) -> None:
        """End the idle connections."""
        self._session.close()

    def post_json(
        self, path: str, document: Mapping[str, Any], *, most_bytes: int, seconds: float | None = None
    ) -> bytes:
        """Post a JSON document; the body of the answer. `seconds` may be fewer than the endpoint has usually.

        Raises:
            EndpointError: no answer of 200 in time, or one of more than `most_bytes`.
        """
        headers = {"Content-Type": "application/json"}
        return self._post(path, most_bytes, seconds, data=orjson.dumps(document), headers=headers)

    def post_file(self, path: str, fields: Mapping[str, str], file: bytes, *, most_bytes: int) -> bytes:
        """Post a form with a WAV file called `file`; as `post_json`."""
        return self._post(path, most_bytes, None, data=fields, files={"file": ("speech.wav", file, "audio/wav")})

    def _post(self, path: str, most_bytes: int, seconds: float | None, **content: Any) -> bytes:
        seconds = min(seconds or self._seconds, self._seconds)
        deadline = time.monotonic() + seconds
        try:
            with self._session.post(
                self._base_url + path, timeout=seconds, allow_redirects=False, stream=True, **content
            ) as response:
                body = _read(response, deadline, most_bytes)
                status = response.status_code
        except requests.Timeout:
            raise EndpointError(f"{path} took too long", cause=PartFailure.SLOW) from None
        except requests.RequestException as exc:
            # The cause would quote the URL, and at times what was sent.
            raise EndpointError(f"{path}: {type(exc).__name__}", cause=PartFailure.UNREACHABLE) from None
        if status != requests.codes.ok:
            cause = PartFailure.REFUSED if 400 <= status < 500 else PartFailure.BROKEN
            raise EndpointError(f"{path} answered {status}", cause=cause, status=status, body=body)
        return body


def _read(response: requests.Response, deadline: float, most_bytes: int) -> bytes:
    body = bytearray()
    for piece in response.iter_content(_CHUNK_BYTES):
        body += piece
        if len(body) > most_bytes:
            raise EndpointError(f"an answer of more than {most_bytes} bytes", cause=PartFailure.BROKEN)
        if time.monotonic() > deadline:
            raise EndpointError("an answer took too long", cause=PartFailure.SLOW)
    return bytes(body)
