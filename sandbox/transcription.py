"""Speech to text: `POST /v1/speech-to-text`, heard by the local ears.

The key decision: without ears the route answers with an error that says what to install; it never makes a text up.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Flask, request

from sandbox.auth import require_key
from sandbox.errors import ApiError, SchemaError
from sandbox.limits import SlotsTakenError
from sandbox.recordings import Recording, read_recording
from sandbox.speech_routes import too_many_requests
from sandbox.state import SandboxState
from service.fallback.local_ears import EarsError, LocalEars, Transcript, Word

MODELS = ("scribe_v1", "scribe_v2")
SHORTEST_SECONDS = 0.1
_WINDOW_SECONDS = 30.0
_THREE_LETTERS = {"en": "eng", "es": "spa"}
_TWO_LETTERS = {long: short for short, long in _THREE_LETTERS.items()}


def register(app: Flask, state: SandboxState) -> None:
    """Add `/v1/speech-to-text`."""
    routes = Blueprint("stt", __name__)
    routes.before_request(lambda: require_key(state))

    @routes.post("/v1/speech-to-text", endpoint="convert")
    def convert() -> dict[str, Any]:
        _check_form()
        recording = _recording()
        if state.ears is None:
            raise ApiError("not_implemented", "The sandbox has no ears: pip install 'vocero[local]', then restart it.")
        try:
            with state.limits.transcription.lease():
                parts = list(_hear(state.ears, recording, _language()))
        except SlotsTakenError as taken:
            raise too_many_requests(taken) from None
        except EarsError as exc:
            raise ApiError("service_unavailable", f"The sandbox's ears failed: {exc}.") from exc
        return _answer(parts, recording.seconds)

    app.register_blueprint(routes)


def _check_form() -> None:
    model_id = request.form.get("model_id")
    if model_id is None:
        raise SchemaError({"loc": ["body", "model_id"], "msg": "Field required", "type": "missing"})
    if model_id not in MODELS:
        message = f"'{model_id[:64]}' is not a valid model_id. Only the following are allowed: {', '.join(MODELS)}."
        raise ApiError("unsupported_model", message, param="model_id", legacy="invalid_model_id")
    if "file" not in request.files:
        raise ApiError("invalid_parameters", "Must provide either file or source URL; here only file.", param="file")


def _recording() -> Recording:
    raw = request.form.get("file_format") == "pcm_s16le_16"
    recording = read_recording(request.files["file"].read(), raw_pcm=raw)
    if recording.seconds < SHORTEST_SECONDS:
        raise ApiError(
            "audio_too_short", f"Audio is too short: at least {SHORTEST_SECONDS} s are wanted.", param="file"
        )
    return recording


def _language() -> str | None:
    code = request.form.get("language_code") or None
    return None if code is None else _TWO_LETTERS.get(code, code)


def _hear(ears: LocalEars, recording: Recording, language: str | None) -> Iterator[Transcript]:
    """Give the transcripts of one window after the other, with times from the recording's begin."""
    for begin, pcm in recording.windows(_WINDOW_SECONDS):
        heard = ears.transcribe(pcm, recording.sample_rate, language, with_words=True)
        words = tuple(Word(word.text, word.start + begin, word.end + begin) for word in heard.words)
        language = language or (heard.language if heard.text else None)
        yield Transcript(heard.text, heard.language, heard.language_probability, words)


def _answer(parts: list[Transcript], seconds: float) -> dict[str, Any]:
    first = next((part for part in parts if part.text), parts[0])
    granularity = request.form.get("timestamps_granularity", "word")
    words = [] if granularity == "none" else [word for part in parts for word in part.words]
    return {
        "language_code": _THREE_LETTERS.get(first.language, first.language),
        "language_probability": round(first.language_probability, 4),
        "text": " ".join(part.text for part in parts if part.text),
        "words": list(_show_words(words)),
        "transcription_id": uuid.uuid4().hex[:20],
        "audio_duration_secs": round(seconds, 3),
    }


def _show_words(words: list[Word]) -> Iterator[dict[str, Any]]:
    end: float | None = None
    for word in words:
        if end is not None:
            yield _show_word(" ", end, word.start, "spacing")
        yield _show_word(word.text, word.start, word.end, "word")
        end = word.end


def _show_word(text: str, start: float, end: float, kind: str) -> dict[str, Any]:
    times = {"start": round(start, 3), "end": round(end, 3)}
    return {"text": text, **times, "type": kind, "speaker_id": "speaker_0", "logprob": 0.0}
