"""What clients send to the two speech sockets, checked; and the error that ends a socket.

The key decision: one refusal for everything that is wrong, an error frame with a word and code 1008, then the close.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from sandbox.errors import ApiError, SchemaError
from sandbox.speech_request import Locator, VoiceSettings, check_locators, check_settings, validate
from sandbox.text_buffer import DEFAULT_SCHEDULE
from service.elevenlabs.vocabulary import DEFAULT_INACTIVITY_SECONDS, MAX_INACTIVITY_SECONDS

POLICY_VIOLATION = 1008


class StreamError(Exception):
    """The socket is ended: `message` and the word `error` go out in a frame, then a close with `code`."""

    def __init__(self, error: str, message: str, *, code: int = POLICY_VIOLATION) -> None:
        super().__init__(error)
        self.error = error
        self.message = message
        self.code = code

    def frame(self) -> dict[str, Any]:
        """Give the error frame."""
        return {"message": self.message, "error": self.error, "code": self.code}


class StreamQuery(BaseModel):
    """The query of the speech sockets. `inactivity_timeout` may be a fraction here, so that tests need not wait."""

    model_id: str = "eleven_multilingual_v2"
    language_code: str | None = None
    output_format: str = "mp3_44100_128"
    inactivity_timeout: float = Field(DEFAULT_INACTIVITY_SECONDS, gt=0, le=MAX_INACTIVITY_SECONDS)
    auto_mode: bool = False
    sync_alignment: bool = False
    enable_ssml_parsing: bool = False
    enable_logging: bool = True
    seed: int | None = Field(None, ge=0, le=4_294_967_295)
    authorization: str | None = None


class GenerationConfig(BaseModel):
    """When to speak: how many characters to wait for, generation by generation."""

    chunk_length_schedule: list[Annotated[float, Field(ge=50, le=500)]] | None = Field(None, min_length=1)

    def schedule(self) -> list[int]:
        """Give the schedule in whole characters."""
        return [int(length) for length in self.chunk_length_schedule or DEFAULT_SCHEDULE]


class _Message(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    voice_settings: VoiceSettings | None = None
    generation_config: GenerationConfig | None = Field(
        None, validation_alias=AliasChoices("generation_config", "generator_config")
    )
    pronunciation_dictionary_locators: list[Locator] | None = None
    xi_api_key: str | None = Field(None, validation_alias=AliasChoices("xi_api_key", "xi-api-key"))
    authorization: str | None = None
    flush: bool = False
    try_trigger_generation: bool = False

    def key(self) -> str | None:
        """Give the key that the message brings, if any."""
        if self.authorization:
            return self.authorization.removeprefix("Bearer ").strip()
        return self.xi_api_key


class SingleMessage(_Message):
    """A message to `stream-input`."""

    text: str


class MultiMessage(_Message):
    """A message to `multi-stream-input`; without a `context_id` it is for the default context."""

    text: str | None = None
    context_id: str | None = Field(None, max_length=256, validation_alias=AliasChoices("context_id", "contextId"))
    close_context: bool = False
    close_socket: bool = False


class FixedSettings:
    """The settings of a context: its first message's, which later messages may repeat and not change."""

    def __init__(self, first: _Message) -> None:
        self._voice = first.voice_settings
        self._generation = first.generation_config
        self.speed = _as_stream_errors(lambda: check_settings(first.voice_settings))
        self.schedule = (first.generation_config or GenerationConfig(chunk_length_schedule=None)).schedule()
        _as_stream_errors(lambda: check_locators(first.pronunciation_dictionary_locators))

    def check(self, later: _Message) -> None:
        """Raise StreamError if a later message changes a setting."""
        for name, mine, theirs in (
            ("voice_settings", self._voice, later.voice_settings),
            ("generation_config", self._generation, later.generation_config),
        ):
            if theirs is not None and theirs != mine:
                message = f"The {name} can only be provided in the first message, or must stay unchanged."
                raise StreamError("invalid_message", message)


M = TypeVar("M", bound=_Message)


def read_message(kind: type[M], data: bytes) -> M:
    """Read one message; raises StreamError."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise StreamError("invalid_message", "The message is not valid JSON.") from None
    try:
        return validate(kind, document, within=())
    except SchemaError as exc:
        raise StreamError("invalid_message", _first_problem(exc)) from None


def read_query(arguments: dict[str, str]) -> StreamQuery:
    """Read the query; raises StreamError."""
    try:
        return validate(StreamQuery, arguments, within=("query",))
    except SchemaError as exc:
        raise StreamError("invalid_parameters", _first_problem(exc)) from None


def as_stream_error(error: ApiError | SchemaError) -> StreamError:
    """Give an HTTP route's refusal in the shape of the sockets."""
    if isinstance(error, SchemaError):
        return StreamError("invalid_parameters", _first_problem(error))
    return StreamError(error.code, error.message)


def _as_stream_errors(check: Any) -> Any:
    try:
        return check()
    except ApiError as exc:
        raise as_stream_error(exc) from None


def _first_problem(error: SchemaError) -> str:
    problem = error.problems[0]
    return f"{'.'.join(str(step) for step in problem['loc'])}: {problem['msg']}"
