"""Text to speech in ElevenLabs' shape: the client's query and body go up untouched, the audio comes down as it comes.

The key decisions:

* what a model, a voice or a format allows is for ElevenLabs to say; here only the key, the size of the body and that
  it is JSON are checked. So a field that ElevenLabs adds tomorrow works today;
* a request that succeeds does not go through Flask, which took a sixth of its CPU: the door in front of it opens the
  speech and hands it to the server. Flask still does everything else that these routes need:
  it says what failed, in the one shape that all failures have, and answers preflights and wrong methods;
* the backup answers only where nothing of ElevenLabs' answer has left yet: two voices in one sound file help nobody.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson
import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.utils import host_is_trusted

from service.elevenlabs.vocabulary import PROVIDER, SpeechRoute
from service.errors import (
    CapacityError,
    RequestError,
    SecretsUnavailableError,
    UpstreamError,
    UpstreamProtocolError,
    VoceroError,
)
from service.fallback.backup_speech import BackupSpeech
from service.key_limits import KeyUse
from service.services import Services
from service.storage import ApiScope, Capability
from service.web.access import FOR_THE_API, check_api_key

log = structlog.get_logger(__name__)

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Any], Iterable[bytes]]


class SpeechAnswer(Protocol):
    """An answer while it arrives, whoever speaks (`SpeechStream`, `LocalSpeechStream`)."""

    @property
    def content_type(self) -> str:
        """The media type."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What else is told about it, in lower case."""

    def __iter__(self) -> Iterator[bytes]:
        """The bytes as they come."""

    def close(self) -> None:
        """End it."""


_Begun = tuple[SpeechAnswer, bytes, Iterator[bytes]]
"""An answer, its first piece, and its others."""

_PREFIX = "/v1/text-to-speech/"
_PATH = re.compile(_PREFIX + r"([^/]+)(|" + "|".join(route.value for route in SpeechRoute if route.value) + ")")
_FAILURE = "vocero.speech_failure"


def blueprint() -> Blueprint:
    """Routes `/v1/text-to-speech/{voice_id}` and the three below it, as far as `SpeechDoor` leaves them to Flask."""
    routes = Blueprint("speech", __name__)

    def fail(voice_id: str) -> Response:  # noqa: ARG001 (the route's)
        raise request.environ.pop(_FAILURE)

    for route in SpeechRoute:
        routes.add_url_rule(f"{_PREFIX}<voice_id>{route.value}", route.name, fail, methods=["POST"])
    return routes


class SpeechDoor:
    """WSGI middleware in front of Flask's `app`: opens the speech that is asked for, leaves the rest to `app`."""

    def __init__(
        self,
        app: WsgiApp,
        services: Services,
        *,
        trusted_hosts: Sequence[str] | None,
        backup: BackupSpeech | None = None,
    ) -> None:
        self._app = app
        self._services = services
        self._backup = backup
        self._trusted_hosts = None if trusted_hosts is None else tuple(trusted_hosts)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As PEP 3333."""
        place = self._find_place(environ)
        if place is None:
            return self._app(environ, start_response)
        try:
            begun, use = self._open(environ, *place)
        except Exception as exc:  # noqa: BLE001 (Flask's handlers word it, and log what nobody expected)
            environ[_FAILURE] = exc
            return self._app(environ, start_response)
        audio, stream = _Audio(begun, use), begun[0]
        headers = {"content-type": stream.content_type, **stream.headers, **FOR_THE_API}
        try:
            start_response("200 OK", list(headers.items()))
        except BaseException:  # the server closes only what it was handed
            audio.close()
            raise
        return audio

    def _find_place(self, environ: Environ) -> tuple[SpeechRoute, str] | None:
        """The route and the voice; None if the request is not for us, or under a name that is not ours."""
        if environ["REQUEST_METHOD"] != "POST" or not environ["PATH_INFO"].startswith(_PREFIX):
            return None
        # PEP 3333 hands bytes over as if they were Latin-1.
        found = _PATH.fullmatch(environ["PATH_INFO"].encode("latin-1").decode(errors="replace"))
        if found is None:
            return None
        if not _is_trusted(environ.get("HTTP_HOST") or environ["SERVER_NAME"], self._trusted_hosts):
            return None
        return SpeechRoute(found[2]), found[1]

    def _open(self, environ: Environ, route: SpeechRoute, voice_id: str) -> tuple[_Begun, KeyUse | None]:
        services = self._services
        services.maintenance.check()
        key = check_api_key(services, environ.get("HTTP_XI_API_KEY", ""), ApiScope.SPEECH)
        body = _read_body(environ, services.settings.max_request_bytes)
        characters = _check_body(body)
        use = services.key_limits.begin_speech(key, characters)
        try:
            return self._speak(route, voice_id, environ["QUERY_STRING"], body), use
        except BaseException:  # whatever it was: nothing was heard
            if use is not None:
                use.undo()
            raise

    def _speak(self, route: SpeechRoute, voice_id: str, query: str, body: bytes) -> _Begun:
        services, backup = self._services, self._backup
        if backup is None:
            services.legs.fallback.check(Capability.SPEECH, PROVIDER)
            return _begin(services.elevenlabs.open_speech(route, voice_id, query=query, body=body))
        if not backup.goes_first(voice_id):
            asked_at = time.monotonic()
            try:
                begun = _begin(services.elevenlabs.open_speech(route, voice_id, query=query, body=body))
                _check_begun(begun)
            except (UpstreamError, CapacityError, SecretsUnavailableError) as exc:
                if not (backup.takes_over(exc) and backup.speech.can_speak):
                    raise
                log.warning("the backup speaks", code=getattr(exc, "code", type(exc).__name__))
            else:
                backup.primary_spoke(time.monotonic() - asked_at)
                return begun
        return _begin(backup.speech.open(route, voice_id, query=query, body=body))


def _begin(stream: SpeechAnswer) -> _Begun:
    """Wait for the first piece: the head leaves together with it, and until then a failure can be told as such."""
    pieces = iter(stream)
    return stream, next(pieces, b""), pieces


def _check_begun(begun: _Begun) -> None:
    if not begun[1]:
        begun[0].close()
        raise UpstreamProtocolError("ElevenLabs answered without a sound.", code="no_audio")


@functools.lru_cache(maxsize=256)
def _is_trusted(host: str, trusted_hosts: tuple[str, ...] | None) -> bool:
    return trusted_hosts is None or host_is_trusted(host, trusted_hosts)


def _read_body(environ: Environ, most: int) -> bytes:
    """The request's body; one without a length comes in chunks, whose end the server knows."""
    length = int(environ.get("CONTENT_LENGTH") or most + 1)
    body: bytes = environ["wsgi.input"].read(min(length, most + 1))
    if len(body) > most:
        raise RequestEntityTooLarge
    return body


def _check_body(body: bytes) -> int:
    """How many characters are to be spoken; whether that is a text is for ElevenLabs to say."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestError("The body is not JSON.", code="malformed_json") from None
    if not isinstance(fields, dict):
        raise RequestError("The body is not a JSON object.", code="bad_request")
    text = fields.get("text")
    return len(text) if isinstance(text, str) else 0


class _Audio:
    """The answer's body for the server, which closes it whatever happens: the client may leave in the middle."""

    def __init__(self, begun: _Begun, use: KeyUse | None) -> None:
        self._stream, self._first, self._others = begun
        self._use = use

    def __iter__(self) -> Iterator[bytes]:
        yield self._first
        try:
            yield from self._others
        except VoceroError as exc:
            # The head is out: all that is left is to break off, so that the client does not take half for the whole.
            log.warning(
                "speech broke off",
                code=getattr(exc, "code", ""),
                upstream_request_id=self._stream.headers.get("request-id"),
            )
            raise

    def close(self) -> None:
        """End the answer itself, too."""
        try:
            self._stream.close()
        finally:
            if self._use is not None:
                self._use.end()
