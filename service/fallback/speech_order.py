"""What a speech request asks the backup for, read from ElevenLabs' query and body.

The key decision: what ElevenLabs would refuse is refused in its words, so that a client learns of its mistake from
either; and what only concerns ElevenLabs' models is left unread.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs

from pydantic import BaseModel, Field, ValidationError

from service.elevenlabs.vocabulary import CHARACTER_LIMITS, DEFAULT_MODEL, DEFAULT_OUTPUT_FORMAT, SpeechRoute
from service.errors import RequestError, UnprocessableError
from service.fallback.audio_formats import OutputFormat, parse_output_format
from service.fallback.text_language import guess_language

LONGEST_TEXT = max(CHARACTER_LIMITS.values())
SPEEDS = (0.7, 1.2)
DEFAULT_LANGUAGE = "en"


class _VoiceSettings(BaseModel):
    stability: float | None = Field(None, ge=0, le=1)
    similarity_boost: float | None = Field(None, ge=0, le=1)
    speed: float | None = None


class _Body(BaseModel):
    text: str
    model_id: str = DEFAULT_MODEL
    language_code: str | None = None
    voice_settings: _VoiceSettings | None = None


@dataclass(frozen=True, kw_only=True)
class SpeechOrder:
    """What is to be spoken. `language` is a tag, `speed` 1.0 the voice's own."""

    text: str
    language: str
    speed: float
    output_format: OutputFormat


def read_speech_order(route: SpeechRoute, *, query: str, body: bytes) -> SpeechOrder:
    """Read a request for one of the speech routes; `query` is the URL's, `body` JSON.

    Raises:
        UnprocessableError: it does not fit the schema (422).
        RequestError: the text is empty or too long, or a setting out of bounds (400).
    """
    output_format = _read_format(route, query)
    asked = _read_body(body)
    _check_text(asked.text, asked.model_id)
    return SpeechOrder(
        text=asked.text,
        language=asked.language_code or guess_language(asked.text, otherwise=DEFAULT_LANGUAGE),
        speed=_read_speed(asked.voice_settings),
        output_format=output_format,
    )


def _read_format(route: SpeechRoute, query: str) -> OutputFormat:
    given = parse_qs(query).get("output_format", [DEFAULT_OUTPUT_FORMAT])[0]
    try:
        return parse_output_format(given, streaming=route.is_streamed)
    except RequestError as exc:
        raise UnprocessableError(exc.message, param="query.output_format") from None


def _read_body(body: bytes) -> _Body:
    try:
        return _Body.model_validate_json(body)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
    # Outside the handler: the cause would quote the text.
    raise UnprocessableError(first["msg"], param=".".join(["body", *map(str, first["loc"])]))


def _check_text(text: str, model_id: str) -> None:
    if not text.strip():
        raise RequestError("The text is empty.", code="empty_text", type="validation_error", param="text")
    limit = CHARACTER_LIMITS.get(model_id, LONGEST_TEXT)
    if len(text) > limit:
        raise RequestError(
            f"The text has {len(text)} characters; {model_id[:64]} takes at most {limit} in one request.",
            code="text_too_long",
            type="validation_error",
            param="text",
        )


def _read_speed(settings: _VoiceSettings | None) -> float:
    speed = 1.0 if settings is None or settings.speed is None else settings.speed
    if not SPEEDS[0] <= speed <= SPEEDS[1]:
        raise RequestError(
            f"The speed must be from {SPEEDS[0]} to {SPEEDS[1]}.",
            code="invalid_voice_settings",
            type="validation_error",
            param="voice_settings.speed",
        )
    return speed
