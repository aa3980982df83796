"""Read a text-to-speech request and refuse what ElevenLabs refuses, in its words' shape.

The key decision: what ElevenLabs' schema forbids is a 422 with FastAPI's list (pydantic finds it, as there); what its
code forbids later has a code of its own.
"""

from __future__ import annotations

import json
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from sandbox.catalog import MODELS, CatalogVoice, Model, find_voice
from sandbox.errors import ApiError, SchemaError
from sandbox.plans import PLANS, Plan
from sandbox.synthesis import Order
from service.fallback.audio_formats import OUTPUT_FORMATS, STREAMING_FORMATS

MAX_LOCATORS = 3
MAX_SEED = 4_294_967_295
SPEED_BOUNDS = (0.7, 1.2)
DEFAULT_FORMAT = "mp3_44100_128"

Schema = TypeVar("Schema", bound=BaseModel)


class VoiceSettings(BaseModel):
    """How the voice shall speak; only `speed` is heard here."""

    stability: float | None = Field(None, ge=0, le=1)
    similarity_boost: float | None = Field(None, ge=0, le=1)
    style: float | None = None
    use_speaker_boost: bool | None = None
    speed: float | None = None


class Locator(BaseModel):
    """A pronunciation dictionary in a version."""

    pronunciation_dictionary_id: str
    version_id: str | None = None


class SpeechBody(BaseModel):
    """The JSON body of the four text-to-speech routes."""

    text: str
    model_id: str = "eleven_multilingual_v2"
    language_code: str | None = None
    voice_settings: VoiceSettings | None = None
    pronunciation_dictionary_locators: list[Locator] | None = None
    seed: int | None = None
    previous_text: str | None = None
    next_text: str | None = None
    previous_request_ids: list[str] | None = None
    next_request_ids: list[str] | None = None
    use_pvc_as_ivc: bool = False
    apply_text_normalization: Literal["auto", "on", "off"] = "auto"
    apply_language_text_normalization: bool = False


def read_speech_request(raw: bytes, *, voice_id: str, output_format: str, plan: Plan, streaming: bool) -> Order:
    """Read the body and check it with the rest of the request.

    Raises:
        SchemaError: it does not fit the schema (422).
        ApiError: it is refused (400, 403, 404).
    """
    check_output_format(output_format, streaming=streaming)
    body = parse(SpeechBody, raw)
    voice = require_voice(voice_id)
    model = require_model(body.model_id)
    _check_text(body.text, model)
    speed = check_settings(body.voice_settings)
    check_locators(body.pronunciation_dictionary_locators)
    _check_context(body, model)
    check_plan(output_format, plan)
    language = body.language_code if body.language_code in model.languages else None
    return Order(body.text, voice, model, output_format, language, speed)


def parse(schema: type[Schema], raw: bytes) -> Schema:
    """Read JSON by a schema; raises SchemaError in FastAPI's words."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        raise SchemaError({"loc": ["body", 0], "msg": "JSON decode error", "type": "json_invalid"}) from None
    return validate(schema, document, within=("body",))


def validate(schema: type[Schema], document: Any, *, within: tuple[str, ...]) -> Schema:
    """Check a JSON value by a schema; raises SchemaError with places that begin with `within`."""
    try:
        return schema.model_validate(document)
    except ValidationError as exc:
        problems = exc.errors(include_url=False, include_input=False, include_context=False)
        raise SchemaError(
            *(
                {"loc": [*within, *problem["loc"]], "msg": problem["msg"], "type": problem["type"]}
                for problem in problems
            )
        ) from None


def require_voice(voice_id: str) -> CatalogVoice:
    """Give the voice; raises ApiError 404."""
    if (voice := find_voice(voice_id)) is None:
        raise ApiError("voice_not_found", f"A voice with voice ID '{voice_id[:64]}' was not found.", param="voice_id")
    return voice


def require_model(model_id: str) -> Model:
    """Give the model; raises ApiError 404 if unknown and 400 if it does not speak."""
    model = MODELS.get(model_id)
    if model is None:
        message = f"A model with model ID '{model_id[:64]}' does not exist."
        raise ApiError("model_not_found", message, param="model_id")
    if not model.speaks:
        message = f"Model '{model_id}' cannot do text to speech."
        raise ApiError("unsupported_model", message, param="model_id", legacy="model_can_not_do_text_to_speech")
    return model


def check_output_format(output_format: str, *, streaming: bool) -> None:
    """Raise SchemaError for a name that is not in the route's enumeration."""
    allowed = STREAMING_FORMATS if streaming else OUTPUT_FORMATS.keys()
    if output_format not in allowed:
        names = ", ".join(f"'{name}'" for name in OUTPUT_FORMATS if name in allowed)
        raise SchemaError({"loc": ["query", "output_format"], "msg": f"Input should be {names}", "type": "enum"})


def check_plan(output_format: str, plan: Plan) -> None:
    """Raise ApiError 403 for a format that is sold with a higher plan only."""
    wanted = "creator" if output_format == "mp3_44100_192" else None
    if output_format in ("pcm_44100", "pcm_48000", "wav_44100", "wav_48000"):
        wanted = "pro"
    if wanted is not None and plan.rank < PLANS[wanted].rank:
        message = f"Output format {output_format} requires you to be subscribed to the {wanted} tier or above."
        raise ApiError("subscription_required", message, param="output_format", legacy="output_format_not_allowed")


def check_settings(settings: VoiceSettings | None) -> float:
    """Give the speed to speak with; raises ApiError 400 for settings out of bounds."""
    if settings is None:
        return 1.0
    _check_setting("style", settings.style, 0.0, 1.0)
    _check_setting("speed", settings.speed, *SPEED_BOUNDS)
    return 1.0 if settings.speed is None else settings.speed


def check_locators(locators: list[Locator] | None) -> None:
    """Raise ApiError 400 for more than three dictionaries."""
    if locators is not None and len(locators) > MAX_LOCATORS:
        message = f"At most {MAX_LOCATORS} pronunciation dictionary locators are allowed, received {len(locators)}."
        raise ApiError("invalid_parameters", message, param="pronunciation_dictionary_locators")


def _check_setting(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        message = (
            f"Invalid setting for {name} received, expected to be greater or equal to {least} "
            f"and less or equal to {most}, received {value}"
        )
        raise ApiError("invalid_voice_settings", message, param=f"voice_settings.{name}")


def _check_text(text: str, model: Model) -> None:
    if not text.strip():
        raise ApiError("empty_text", param="text")
    if len(text) > model.limit:
        message = (
            f"A single request to model '{model.model_id}' may have at most {model.limit} characters, "
            f"this one has {len(text)}."
        )
        raise ApiError("text_too_long", message, param="text")


def _check_context(body: SpeechBody, model: Model) -> None:
    if body.seed is not None and not 0 <= body.seed <= MAX_SEED:
        raise ApiError("invalid_parameters", f"The seed must be from 0 to {MAX_SEED}.", param="seed")
    for name in ("previous_request_ids", "next_request_ids"):
        if len(getattr(body, name) or ()) > MAX_LOCATORS:
            raise ApiError("invalid_parameters", f"At most {MAX_LOCATORS} {name} are allowed.", param=name)
    for name in ("previous_text", "next_text", "previous_request_ids", "next_request_ids"):
        if model.is_v3 and getattr(body, name):
            message = f"Providing {name} is not yet supported with the '{model.model_id}' model."
            raise ApiError("unsupported_model", message, param=name)
