"""Text to speech: what is asked, and the answer while it arrives.

The key decision: one mechanism for four routes. A request is bytes and an answer is a `SpeechStream`, so that the
gateway can pass on a client's body untouched, and our own methods only add how the bytes are made and read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypedDict
from urllib.parse import quote

import orjson

from service.elevenlabs.speech_characters import SpeechOrder
from service.elevenlabs.transport import HttpAnswer
from service.elevenlabs.vocabulary import CHARACTER_LIMITS, KEPT_HEADERS
from service.errors import NotFoundError, RequestError, UpstreamProtocolError

MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_BODY_BYTES = 128 * 1024 * 1024
"""A bound on what is held in memory: 40,000 characters are some 45 minutes, 43 MB in the default format."""


@dataclass(frozen=True, kw_only=True)
class VoiceSettings:
    """How the voice speaks; None leaves a setting as the voice has it. `speed` 1.0 is the voice's own."""

    stability: float | None = None
    similarity_boost: float | None = None
    style: float | None = None
    use_speaker_boost: bool | None = None
    speed: float | None = None


class DictionaryLocator(TypedDict):
    """A pronunciation dictionary in one version."""

    pronunciation_dictionary_id: str
    version_id: str


class SpeechOptions(TypedDict, total=False):
    """The fields of a speech request that are seldom given; the first two travel in the query, the others in the body.

    At most three dictionaries, previous and next request ids; `seed` is 0 to 4294967295.
    """

    enable_logging: bool
    optimize_streaming_latency: Literal[0, 1, 2, 3, 4]
    language_code: str
    pronunciation_dictionary_locators: Sequence[DictionaryLocator]
    seed: int
    previous_text: str
    next_text: str
    previous_request_ids: Sequence[str]
    next_request_ids: Sequence[str]
    use_pvc_as_ivc: bool
    apply_text_normalization: Literal["auto", "on", "off"]
    apply_language_text_normalization: bool


_IN_QUERY = ("enable_logging", "optimize_streaming_latency")


def speech_query(output_format: str, options: SpeechOptions) -> dict[str, str]:
    """The query of a speech request."""
    given: dict[str, object] = {name: options[name] for name in _IN_QUERY if name in options}  # type: ignore[literal-required]  # names of SpeechOptions
    return {"output_format": output_format} | {name: str(value).lower() for name, value in given.items()}


def speech_body(text: str, model_id: str, voice_settings: VoiceSettings | None, options: SpeechOptions) -> bytes:
    """The body of a speech request; what is not given is left out."""
    document: dict[str, object] = {"text": text, "model_id": model_id}
    if voice_settings is not None:
        document["voice_settings"] = {
            name: value for name, value in asdict(voice_settings).items() if value is not None
        }
    document |= {name: value for name, value in options.items() if name not in _IN_QUERY}
    return orjson.dumps(document)


def check_text(text: str, model_id: str) -> None:
    """Refuse at once what ElevenLabs would refuse after a round trip.

    Raises:
        RequestError: the text is empty, or longer than the model's limit where that is known.
    """
    if not text:
        raise RequestError("The text is empty.", code="empty_text", type="validation_error", param="text")
    limit = CHARACTER_LIMITS.get(model_id)
    if limit is not None and len(text) > limit:
        raise RequestError(
            f"The text has {len(text)} characters; {model_id} takes at most {limit} in one request.",
            code="text_too_long",
            type="validation_error",
            param="text",
        )


def quoted_voice(voice_id: str) -> str:
    """The id as a segment of a path.

    Raises:
        NotFoundError: no voice can have it.
    """
    # As a path segment these three would lead to another route, however they are quoted.
    if voice_id in ("", ".", ".."):
        raise NotFoundError("There is no voice of that id.", code="voice_not_found")
    return voice_id if voice_id.isascii() and voice_id.isalnum() else quote(voice_id, safe="")


class SpeechStream:
    """An answer of one of the speech routes while it arrives: iterate over it for its bytes.

    `headers` are those of `KEPT_HEADERS` that came, in lower case. However the iteration ends (to its end, by an
    error, by `break`, by a killed greenlet), the answer is closed; `close()` or a `with` block also closes one that
    was never iterated. `on_close` is called then. `order` is what it is the answer to.
    """

    def __init__(self, answer: HttpAnswer, *, order: SpeechOrder, on_close: Callable[[], None] | None = None) -> None:
        self._answer = answer
        self.order = order
        answer.on_close = on_close
        self.headers = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}

    @property
    def content_type(self) -> str:
        """The media type, as ElevenLabs gave it."""
        return self.headers.get("content-type", "application/octet-stream")

    def __iter__(self) -> Iterator[bytes]:
        """The bytes in the pieces in which they arrived.

        Raises:
            UpstreamProtocolError: the answer broke off.
            UpstreamTimeoutError: ElevenLabs fell silent.
        """
        with self._answer:
            while piece := self._answer.read_some():
                yield piece

    def follow(self, on_over: Callable[[HttpAnswer], None]) -> None:
        """Have `on_over` called when the answer is over, with what became of it; one that is closed is over."""
        self._answer.on_over = on_over

    def wait_for_audio(self) -> None:
        """Wait for the first piece, which iterating gives then; raises as iteration, and the answer is closed."""
        self._answer.wait_for_body()

    def lines(self) -> Iterator[bytes]:
        """The lines of an NDJSON answer, each as soon as it is whole; empty ones are left out.

        Raises:
            UpstreamProtocolError: as iteration, or a line is longer than 16 MiB.
            UpstreamTimeoutError: as iteration.
        """
        pieces: list[bytes] = []
        size = 0
        for piece in self:
            *whole, rest = piece.split(b"\n")
            for line in whole:
                pieces.append(line)
                yield from _not_empty(b"".join(pieces))
                pieces, size = [], 0
            pieces.append(rest)
            size += len(rest)
            if size > MAX_LINE_BYTES:
                self._answer.failure = UpstreamProtocolError(
                    "A line of ElevenLabs' answer has no end.", code="line_too_long"
                )
                raise self._answer.failure
        yield from _not_empty(b"".join(pieces))

    def read_all(self) -> bytes:
        """The whole body, at most 128 MiB; raises as iteration."""
        return self._answer.read_all(MAX_BODY_BYTES)

    def close(self) -> None:
        """End the answer; its connection is reused if it was read to the end. May be called again."""
        self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _not_empty(line: bytes) -> Iterator[bytes]:
    if line.strip():
        yield line


# --- Audio with timestamps -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """When each character is spoken, in seconds from the start of the audio."""

    characters: tuple[str, ...]
    starts_seconds: tuple[float, ...]
    ends_seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TimedAudio:
    """Audio and when its characters are spoken: of the text as given, and as normalised for speech."""

    audio: bytes
    alignment: Alignment | None
    normalized_alignment: Alignment | None


def read_timed_audio(document: bytes) -> TimedAudio:
    """One object of a `with-timestamps` answer.

    Raises:
        UpstreamProtocolError: it is none.
    """
    try:
        fields = orjson.loads(document)
        return TimedAudio(
            audio=base64.b64decode(fields["audio_base64"], validate=True),
            alignment=_read_alignment(fields.get("alignment")),
            normalized_alignment=_read_alignment(fields.get("normalized_alignment")),
        )
    except (orjson.JSONDecodeError, binascii.Error, KeyError, TypeError, AttributeError, ValueError):
        # The cause quotes the document, which holds the user's words.
        raise UpstreamProtocolError("ElevenLabs' timed audio makes no sense.", code="senseless_answer") from None


def _read_alignment(fields: dict[str, Any] | None) -> Alignment | None:
    if fields is None:
        return None
    return Alignment(
        characters=tuple(fields["characters"]),
        starts_seconds=tuple(fields["character_start_times_seconds"]),
        ends_seconds=tuple(fields["character_end_times_seconds"]),
    )
