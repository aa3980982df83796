"""Speech requests answered by the backup's voice, in the shape of ElevenLabs' four routes.

The key decision: everything is made while it is sent, also the one JSON object of the timestamps route, so that 45
minutes of speech hold a sentence in memory and not a hundred megabytes. Only WAV must be whole before it begins, and
is bounded.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import orjson

from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import RequestError, ServiceUnavailableError, VoceroError
from service.fallback.audio_formats import AudioEncoder, content_type
from service.fallback.backup_parts import BackupParts
from service.fallback.local_voice import Voice
from service.fallback.speech_order import SpeechOrder, read_speech_order
from service.fallback.substitutes import NoVoiceError
from service.fallback.timed_audio import (
    Character,
    Chunk,
    alignment,
    alignment_in_chunk,
    encode_chunks,
    timed,
    with_sound,
)
from service.fallback.voice_choice import VoiceMap

PROVIDER_HEADER = "x-vocero-provider"
LONGEST_WAV_CHARACTERS = 5_000
"""Five minutes, 30 MB at the highest rate."""

_RETRY_SECONDS = 10.0


class LocalSpeech:
    """Speaks requests; one for a process. `voices` maps ElevenLabs' voices to those of the backup."""

    def __init__(self, parts: BackupParts, *, voices: VoiceMap) -> None:
        self._parts = parts
        self._voices = voices

    @property
    def can_speak(self) -> bool:
        """Whether there is a voice that listeners may hear."""
        return self._parts.can_speak

    def open(self, route: SpeechRoute, voice_id: str, *, query: str, body: bytes) -> LocalSpeechStream:
        """Begin to answer a speech request: its query and its JSON body are ElevenLabs'.

        Raises:
            RequestError: ElevenLabs would refuse it (400, 422), or ServiceUnavailableError: there is no voice here, or
                no encoder for the format.
        """
        order, chunks = self._begin(route, voice_id, query, body)
        media_type = "application/json" if route.is_json else content_type(order.output_format)
        return LocalSpeechStream(_bodies[route](chunks), media_type)

    def speak_pieces(self, voice_id: str, *, query: str, body: bytes) -> Iterator[dict[str, Any]]:
        """The sound as the speech sockets have it, in pieces of `audio` and the times of their characters; raises as
        `open`, and as its stream does while it is iterated over."""
        for chunk in self._begin(SpeechRoute.STREAM_WITH_TIMESTAMPS, voice_id, query, body)[1]:
            _let_others_in()
            times = alignment_in_chunk(chunk)
            audio = base64.b64encode(chunk.audio).decode()
            yield {"audio": audio, "alignment": times, "normalizedAlignment": times}

    def _begin(self, route: SpeechRoute, voice_id: str, query: str, body: bytes) -> tuple[SpeechOrder, Iterator[Chunk]]:
        if not self.can_speak:
            raise _unavailable("The backup has no voice.")
        order = read_speech_order(route, query=query, body=body)
        if order.output_format.codec == "wav" and len(order.text) > LONGEST_WAV_CHARACTERS:
            raise _unavailable(f"The backup makes WAV of at most {LONGEST_WAV_CHARACTERS} characters.")
        _check_encoder(order)
        variant = self._voices.variant(voice_id, language=order.language)
        return order, with_sound(_chunks(self._parts.voice, order, variant))


class LocalSpeechStream:
    """An answer while it is made; the same surface as `service.elevenlabs.speech.SpeechStream`'s."""

    def __init__(self, pieces: Generator[bytes], media_type: str) -> None:
        self._pieces = pieces
        self.content_type = media_type
        self.headers: Mapping[str, str] = {PROVIDER_HEADER: "local"}

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, each piece as soon as it is made.

        Raises:
            ServiceUnavailableError: the voice failed.
        """
        for piece in self._pieces:
            _let_others_in()
            yield piece

    def close(self) -> None:
        """Make no more."""
        self._pieces.close()


def _let_others_in() -> None:
    """The next piece costs milliseconds of CPU: the other requests of this process get their turn."""
    time.sleep(0)


def _chunks(voice: Voice, order: SpeechOrder, variant: str | None) -> Iterator[Chunk]:
    spoken = voice.speak(order.text, language=order.language, speed=order.speed, variant=variant)
    try:
        yield from encode_chunks((timed(piece) for piece in spoken), order.output_format.name)
    except (NoVoiceError, TimeoutError) as exc:
        raise _unavailable("The backup's voice failed.") from exc


def _bare(chunks: Iterator[Chunk]) -> Generator[bytes]:
    for chunk in chunks:
        yield chunk.audio


def _json_lines(chunks: Iterator[Chunk]) -> Generator[bytes]:
    for chunk in chunks:
        times = alignment(chunk.characters)
        audio = base64.b64encode(chunk.audio).decode()
        yield orjson.dumps({"audio_base64": audio, "alignment": times, "normalized_alignment": times}) + b"\n"


def _one_json(chunks: Iterator[Chunk]) -> Generator[bytes]:
    """One object whose audio comes first, so that it can be sent while it is made; base64 goes by three bytes."""
    characters: list[Character] = []
    prefix, rest = b'{"audio_base64":"', b""
    for chunk in chunks:
        characters.extend(chunk.characters)
        sound = rest + chunk.audio
        whole = len(sound) - len(sound) % 3
        rest = sound[whole:]
        yield prefix + base64.b64encode(sound[:whole])
        prefix = b""
    times = orjson.dumps(alignment(characters))
    end = b'","alignment":%b,"normalized_alignment":%b}' % (times, times)
    yield prefix + base64.b64encode(rest) + end


_bodies = {
    SpeechRoute.FULL: _bare,
    SpeechRoute.STREAM: _bare,
    SpeechRoute.WITH_TIMESTAMPS: _one_json,
    SpeechRoute.STREAM_WITH_TIMESTAMPS: _json_lines,
}


def _check_encoder(order: SpeechOrder) -> None:
    try:
        AudioEncoder(order.output_format, source_rate=order.output_format.sample_rate)
    except RequestError as exc:  # FFmpeg is not installed, which is not the client's fault
        raise _unavailable(exc.message) from exc


def _unavailable(message: str) -> VoceroError:
    return ServiceUnavailableError(message, retry_after=_RETRY_SECONDS, code="no_backup_speech")
