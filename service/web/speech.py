"""Text to speech in ElevenLabs' shape: the client's query and body go up untouched, the audio comes down as it comes.

The key decision: what a model, a voice or a format allows is for ElevenLabs to say; here only the key, the size of
the body and that it is JSON are checked. So a field that ElevenLabs adds tomorrow works today.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import structlog
from flask import Blueprint, Response, request

from service.elevenlabs.speech import SpeechStream
from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import RequestError, UpstreamError
from service.services import Services
from service.web.access import require_api_key
from service.web.errors import request_id

log = structlog.get_logger(__name__)


def blueprint(services: Services) -> Blueprint:
    """Routes `/v1/text-to-speech/{voice_id}` and the three below it."""
    routes = Blueprint("speech", __name__)

    def speak(route: SpeechRoute, voice_id: str) -> Response:
        require_api_key(services)
        body = request.get_data(cache=False)
        _check_body(body)
        stream = services.elevenlabs.open_speech(route, voice_id, query=list(request.args.items(multi=True)), body=body)
        response = Response(_pieces(stream), headers=stream.headers, direct_passthrough=True)
        response.call_on_close(stream.close)
        return response

    for route in SpeechRoute:
        path = f"/v1/text-to-speech/<voice_id>{route.value}"
        routes.add_url_rule(path, route.name, speak, methods=["POST"], defaults={"route": route})
    return routes


def _check_body(body: bytes) -> None:
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestError("The body is not JSON.", code="malformed_json") from None
    if not isinstance(fields, dict):
        raise RequestError("The body is not a JSON object.", code="bad_request")


def _pieces(stream: SpeechStream) -> Iterator[bytes]:
    try:
        yield from stream
    except UpstreamError as exc:
        # The head is out: all that is left is to break off, so that the client does not take half for the whole.
        log.warning("speech broke off", code=exc.code, request_id=request_id())
        raise
