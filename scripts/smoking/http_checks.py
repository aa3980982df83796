"""The steps over HTTP: is it there, which version, a way into a conversation, and one streamed speech request.

The key decision: every address is made of the one that was given. A signed URL tells what it is good for by its query;
the host in it is what the service believes that it is called by, which is told and not followed: a ticket goes to
nobody else, and one node behind a front can be asked by itself.
"""

from __future__ import annotations

import ssl
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from scripts.smoking.report import Report, SmokeError, words_of
from service.conversation.audible import LOUD_SAMPLE
from service.elevenlabs.vocabulary import CONVERSATION_PATH, SIGNED_URL_PATH

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
SPEECH_SECONDS = 30.0
MOST_BODY_BYTES = 65_536
MOST_SPEECH_BYTES = 4_000_000
SPEECH_TEXT = "This is a test of the speech."
SPEECH_FORMAT = "pcm_16000"
FEWEST_SPEECH_BYTES = 16_000  # half a second

_REMEDIES = {
    401: "Make a key with `python -m scripts.api_keys create NAME`, and give the file that has it.",
    404: "Is this Vocero's address? For the page's agent, set ELEVENLABS_AGENT_ID.",
    429: "Wait a minute: this address has asked too often, or the key's places are taken.",
    502: "The front reaches no node, or the node does not reach ElevenLabs: see /readyz on the ops listener.",
    503: "See /readyz on the ops listener: it names what is missing (docs/runbooks.md).",
}


@dataclass(frozen=True)
class Place:
    """A deployment: its address without a slash at its end, who vouches for its certificate, and a key."""

    url: str
    ca_file: str | None
    key: str | None

    @property
    def origin(self) -> str:
        """The web origin that its page has."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def socket_url(self, query: str) -> str:
        """Where its conversations are opened."""
        return f"{self.url.replace('http', 'ws', 1)}{CONVERSATION_PATH}?{query}"


class Http:
    """A session of requests to one place."""

    def __init__(self, place: Place, report: Report) -> None:
        self._place = place
        self._report = report
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = place.ca_file or True

    def close(self) -> None:
        """Let go of its connections."""
        self._session.close()

    # --- Steps

    def check_alive(self) -> tuple[None, str]:
        """Is somebody there, and is it Vocero?"""
        self._ask("GET", "/livez", wanted="status")
        return None, ""

    def read_version(self) -> tuple[str, str]:
        """Which version answers."""
        version = words_of(self._ask("GET", "/version", wanted="version")["version"])
        return version, version

    def page_ticket(self) -> tuple[str, str]:
        """The query that opens a conversation, as the page gets it."""
        answer = self._ask("POST", "/chat/tickets", wanted="signed_url", headers={"Origin": self._place.origin})
        return self._query_of(answer["signed_url"])

    def signed_url(self, agent: str) -> tuple[str, str]:
        """The query that opens a conversation, as an integrator gets it."""
        path = f"{SIGNED_URL_PATH}?{urlencode({'agent_id': agent})}"
        return self._query_of(self._ask("GET", path, wanted="signed_url", headers=self._key())["signed_url"])

    def stream_speech(self, voice: str) -> tuple[None, str]:
        """One speech request whose sound must come in time, be heard, and be whole."""
        path = f"/v1/text-to-speech/{voice}/stream?output_format={SPEECH_FORMAT}"
        sound = bytearray()
        first, begun = 0.0, time.monotonic()
        with self._answer("POST", path, headers=self._key(), json={"text": SPEECH_TEXT}, wait=SPEECH_SECONDS) as answer:
            for piece in self._pieces(answer):
                first = first or time.monotonic() - begun
                sound += piece
                if len(sound) > MOST_SPEECH_BYTES:
                    raise SmokeError("the speech does not end", "See the log of the service.")
        if len(sound) < FEWEST_SPEECH_BYTES:
            raise SmokeError(f"the speech has {len(sound)} bytes only", "See the log of the service.")
        samples = array("h", bytes(sound[: len(sound) // 2 * 2]))
        if max(samples) < LOUD_SAMPLE and min(samples) > -LOUD_SAMPLE:
            raise SmokeError("the speech is silence", "docs/runbooks.md: force the fallback, then look at ElevenLabs.")
        self._report.figures["speech_first_byte"] = round(first, 3)
        return None, f"first byte after {first:.3f} s, {len(sound) / 32_000:.1f} s of sound"

    # --- How

    def _key(self) -> dict[str, str]:
        return {"xi-api-key": self._place.key or ""}

    def _query_of(self, signed_url: object) -> tuple[str, str]:
        parts = urlsplit(str(signed_url))
        if not parts.query:
            raise SmokeError("the signed URL has no query", "Is this Vocero's address?")
        called = urlsplit(self._place.url)
        elsewhere = (parts.hostname, parts.port) != (called.hostname, called.port)
        return parts.query, f"signed URLs lead to {words_of(parts.netloc)}" if elsewhere else ""

    def _ask(self, method: str, path: str, *, wanted: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """The JSON object of an answer, which must have the field `wanted`."""
        with self._answer(method, path, headers=headers or {}, wait=ANSWER_SECONDS) as answer:
            found = _json(answer)
        if not isinstance(found, dict) or wanted not in found:
            raise SmokeError(f"the answer has no {wanted}", "Something else answers there: is this Vocero's address?")
        return found

    @contextmanager
    def _answer(self, method: str, path: str, *, wait: float, **options: Any) -> Iterator[requests.Response]:
        """An answer with the status 200, of which nothing was read.

        Raises:
            SmokeError: no connection, or another answer.
        """
        limits = (self._report.left(CONNECT_SECONDS), self._report.left(wait))
        try:
            answer = self._session.request(
                method, self._place.url + path, timeout=limits, allow_redirects=False, stream=True, **options
            )
        except (requests.RequestException, OSError) as exc:
            raise _unreachable(exc) from None
        with answer:
            if answer.status_code != 200:
                raise _refused(answer)
            yield answer

    def _pieces(self, answer: requests.Response) -> Iterator[bytes]:
        try:
            for piece in answer.iter_content(None):
                self._report.left(1.0)
                yield piece
        except (requests.RequestException, OSError):
            raise SmokeError("the speech broke off", "See the log of the service at this time.") from None


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """For the socket: the same authorities as for requests."""
    return ssl.create_default_context(cafile=ca_file or DEFAULT_CA_BUNDLE_PATH)


def _json(answer: requests.Response) -> object:
    body = b""
    with suppress(requests.RequestException, OSError, orjson.JSONDecodeError):
        for piece in answer.iter_content(None):
            body += piece
            if len(body) > MOST_BODY_BYTES:
                return None
        return orjson.loads(body)
    return None


def _unreachable(exc: Exception) -> SmokeError:
    if isinstance(exc, requests.exceptions.SSLError):
        return SmokeError(
            "its certificate is not to be trusted",
            "Give the authority's certificate: --ca-file FILE; is the name right?",
        )
    if isinstance(exc, requests.exceptions.Timeout):
        return SmokeError("no answer in time", "Does it hang, or does a firewall drop what we send?")
    return SmokeError("no connection", "Is it up, and are name and port right?")


def _refused(answer: requests.Response) -> SmokeError:
    status = answer.status_code
    if 300 <= status < 400:
        return SmokeError(f"it sends us elsewhere ({status})", "Call the address that it sends to (https).")
    found = _json(answer)
    detail = found.get("detail") if isinstance(found, dict) else None
    said = words_of(detail.get("message")) if isinstance(detail, dict) else ""
    remedy = _REMEDIES.get(status, "See the log of the service, or of the front if that has nothing of it.")
    if status == 403 and answer.request.method == "POST":
        remedy = (
            "VOCERO_PUBLIC_URL must be the address that is called, and VOCERO_TRUSTED_PROXIES the proxies before it."
        )
    elif status in {401, 403}:
        remedy = _REMEDIES[401]
    return SmokeError(f"it answered {status}" + (f": {said}" if said else ""), remedy)
