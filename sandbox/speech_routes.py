"""The four text-to-speech routes: whole or streamed, plain audio or JSON with the time of each character.

The key decision: the first chunk is made before the answer begins, so whatever goes wrong up to there is an error in
ElevenLabs' shape, and the headers can say how long it took.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain

from flask import Blueprint, Flask, Response, request

from sandbox.auth import require_key
from sandbox.door import fault_of_request, request_id
from sandbox.errors import ApiError
from sandbox.limits import SlotsTakenError
from sandbox.speech_request import DEFAULT_FORMAT, read_speech_request
from sandbox.state import SandboxState
from sandbox.synthesis import Order, speak
from service.fallback.audio_formats import content_type
from service.fallback.timed_audio import Chunk, alignment, with_sound

MakeBody = Callable[[Iterator[Chunk], Order], Response]


def register(app: Flask, state: SandboxState) -> None:
    """Add `/v1/text-to-speech/{voice_id}` and its three siblings."""
    routes = Blueprint("tts", __name__, url_prefix="/v1/text-to-speech")

    @routes.post("/<voice_id>", endpoint="convert")
    def convert(voice_id: str) -> Response:
        return _answer(state, voice_id, _whole_audio, streaming=False)

    @routes.post("/<voice_id>/stream", endpoint="stream")
    def stream(voice_id: str) -> Response:
        return _answer(state, voice_id, _audio_stream, streaming=True)

    @routes.post("/<voice_id>/with-timestamps", endpoint="with_timestamps")
    def with_timestamps(voice_id: str) -> Response:
        return _answer(state, voice_id, _whole_json, streaming=False)

    @routes.post("/<voice_id>/stream/with-timestamps", endpoint="stream_with_timestamps")
    def stream_with_timestamps(voice_id: str) -> Response:
        return _answer(state, voice_id, _json_stream, streaming=True)

    app.register_blueprint(routes)


def _answer(state: SandboxState, voice_id: str, body: MakeBody, *, streaming: bool) -> Response:
    require_key(state)
    output_format = request.args.get("output_format", DEFAULT_FORMAT)
    order = read_speech_request(
        request.get_data(), voice_id=voice_id, output_format=output_format, plan=state.plan, streaming=streaming
    )
    began = time.monotonic()
    with ExitStack() as held:
        slots = state.limits.speech(order.model.group)
        try:
            current = held.enter_context(slots.lease())
        except SlotsTakenError as taken:
            raise too_many_requests(taken) from None
        state.stats.spoken(str(request.endpoint), voice_id, order.text)
        chunks = _begun(speak(state, order, fault_of_request()))
        response: Response = body(chunks, order)
        response.headers["tts-latency-ms"] = str(round((time.monotonic() - began) * 1000))
        response.headers["character-cost"] = str(order.cost)
        response.headers["history-item-id"] = request_id()
        response.headers["current-concurrent-requests"] = str(current)
        response.headers["maximum-concurrent-requests"] = str(slots.maximum)
        response.headers["workspace-concurrent-requests"] = str(current)
        response.call_on_close(held.pop_all().close)
    return response


def too_many_requests(taken: SlotsTakenError) -> ApiError:
    """Give the refusal of a request for which there is no slot."""
    return ApiError(
        "concurrent_limit_exceeded",
        "Too many concurrent requests. Your current subscription is associated with a maximum of "
        f"{taken.maximum} concurrent requests (running in parallel).",
    )


def _begun(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Give the same chunks, the first that holds sound already made."""
    made: list[Chunk] = []
    for chunk in chunks:
        made.append(chunk)
        if chunk.audio:
            break
    return chain(made, chunks)


def _whole_audio(chunks: Iterator[Chunk], order: Order) -> Response:
    return Response(b"".join(chunk.audio for chunk in chunks), content_type=content_type(order.output_format))


def _audio_stream(chunks: Iterator[Chunk], order: Order) -> Response:
    audio = (chunk.audio for chunk in chunks if chunk.audio)
    return Response(audio, content_type=content_type(order.output_format))


def _whole_json(chunks: Iterator[Chunk], _: Order) -> Response:
    made = list(chunks)
    return Response(_json(made), content_type="application/json")


def _json_stream(chunks: Iterator[Chunk], _: Order) -> Response:
    lines = (_json([chunk]) + b"\n" for chunk in with_sound(chunks))
    return Response(lines, content_type="application/json")


def _json(chunks: Iterable[Chunk]) -> bytes:
    chunks = list(chunks)
    times = alignment(character for chunk in chunks for character in chunk.characters)
    audio = base64.b64encode(b"".join(chunk.audio for chunk in chunks)).decode()
    return json.dumps({"audio_base64": audio, "alignment": times, "normalized_alignment": times}).encode()
