"""The speech sockets: ElevenLabs' own routes for text that comes bit by bit, on our address.

The key decision: whatever is wrong is told behind the upgrade, in a message and a close code, as ElevenLabs does it:
a browser cannot read the answer to an upgrade that is refused. Any web origin may open one, as it may call the HTTP
routes: these are guarded by keys, and never by cookies.
"""

from __future__ import annotations

import time
from typing import Any

import flask_sock
import structlog
from flask import Blueprint, request

from service.elevenlabs.vocabulary import PROVIDER, SpeechSocketRoute
from service.errors import CapacityError, NotAuthenticatedError, RequestError, SocketError, UpstreamError
from service.key_limits import require_scope
from service.services import Services
from service.speech_socket.client_messages import ClientMessage, read_client_message, read_query
from service.speech_socket.speech_socket import SpeechPath, SpeechSocket, tell_failure
from service.storage import ApiKey, ApiScope, Capability
from service.web.access import check_api_key
from service.websocket import WebSocketConnection, take_over

log = structlog.get_logger(__name__)

NAME = "speech_socket"
ENDPOINTS = tuple(f"{NAME}.{route.name.lower()}" for route in SpeechSocketRoute)


def blueprint(services: Services) -> Blueprint:
    """Routes `/v1/text-to-speech/{voice_id}/stream-input` and `/multi-stream-input`."""
    routes = Blueprint(NAME, __name__)
    for route in SpeechSocketRoute:
        _add(routes, services, route)
    return routes


def _add(routes: Blueprint, services: Services, route: SpeechSocketRoute) -> None:
    path, name = f"/v1/text-to-speech/<voice_id>{route.value}", route.name.lower()

    def speak(handshaken: Any, voice_id: str) -> None:
        settings = services.settings
        client = take_over(
            handshaken,
            write_deadline_seconds=settings.write_deadline_seconds,
            max_message_bytes=settings.max_client_message_bytes,
        )
        try:
            _serve(services, client, route, voice_id)
        except (RequestError, UpstreamError, CapacityError) as exc:
            tell_failure(client, exc)
        except SocketError:
            pass
        except Exception:  # gunicorn would write an HTTP 500 page into the socket's stream
            log.exception("speech socket failed")
            client.close(1011, "Internal error.")
        finally:
            client.close()

    flask_sock.Sock().route(path, bp=routes, endpoint=name)(speak)


def _serve(services: Services, client: WebSocketConnection, route: SpeechSocketRoute, voice_id: str) -> None:
    services.maintenance.check()
    query, shown = read_query(request.query_string.decode("latin-1"))
    shown = request.headers.get("xi-api-key") or shown
    first = None if shown else _read_first(services, client, route)
    key = check_api_key(services, shown or (first.credential if first else None) or "", ApiScope.SPEECH)
    path = SpeechPath(route, voice_id, query)

    def allow(characters: int) -> None:
        services.key_limits.spend(_as_it_is_now(services, key), characters)

    socket = SpeechSocket(
        client,
        path,
        open_upstream=lambda: _open_upstream(services, path),
        backup=services.backup_speech,
        allow=allow,
        patience_seconds=services.settings.upstream_read_seconds,
    )
    use = services.key_limits.begin_speech(key, 0)
    begun = time.monotonic()
    try:
        with services.speech_sockets.place(socket):
            socket.run(first)
    finally:
        if use is not None:
            use.end()
        log.info("speech socket ended", by=socket.provider, seconds=round(time.monotonic() - begun, 3))


def _open_upstream(services: Services, path: SpeechPath) -> WebSocketConnection:
    services.legs.fallback.check(Capability.SPEECH, PROVIDER)
    return services.elevenlabs.speech_sockets.open(path.route, path.voice_id, query=path.query)


def _read_first(services: Services, client: WebSocketConnection, route: SpeechSocketRoute) -> ClientMessage:
    seconds = services.settings.first_frame_seconds
    try:
        return read_client_message(client.receive(seconds), route)
    except TimeoutError:
        raise NotAuthenticatedError(
            f"No key came in the first {seconds:g} seconds: send xi-api-key as a header or in the first message.",
            code="missing_api_key",
        ) from None


def _as_it_is_now(services: Services, key: ApiKey) -> ApiKey:
    """The key with its limits of now: a socket may be open for hours. As it was, while the database cannot say.

    Raises:
        NotAuthenticatedError: it was revoked meanwhile, or has expired, and opens nothing any more.
        NotAllowedError: it is not for speech any more.
    """
    standing = services.api_keys.standing(key.id)
    if not standing.is_good:
        raise NotAuthenticatedError("The API key is not valid.", code="invalid_api_key")
    found = standing.key or key
    require_scope(found, ApiScope.SPEECH)
    return found
