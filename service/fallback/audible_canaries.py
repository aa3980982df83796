"""A provider tried by hand: an admin wants to hear that it speaks, or to know that it lets a conversation begin.

The key decision: it takes the way of every other request (slot, pool, key, repetition, metrics) and is told to no
breaker: one person's test, for good or ill, decides for nobody. The backup is tried as it would answer. What it costs
is in docs/fallback.md.
"""

from __future__ import annotations

import io
import time
import wave
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from secrets import token_hex

import orjson

from service.config import Settings
from service.deadline import deadline
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import RequestError, UpstreamTimeoutError
from service.fallback.backup import Backup
from service.fallback.canaries import (
    FORMAT,
    MODEL,
    MOST_AUDIO_BYTES,
    audible,
    canary_agent,
    open_a_conversation,
)
from service.fallback.takeover import Takeover

TEXT = "This is a test of the voice."
SAMPLE_RATE = 16_000
TRIAL_SECONDS = 15.0
LOCAL = "local"


@dataclass(frozen=True)
class Trial:
    """How it went: seconds to the first byte (of a conversation: to its metadata) and in all; the audio as WAV."""

    first_byte_seconds: float
    seconds: float
    size: int = 0
    wav: bytes | None = None


class AudibleCanaries:
    """Tries the accounts in `services`, by their names in the chain, and the `backup` as "local"."""

    def __init__(
        self, services: Mapping[str, ElevenLabsService], *, backup: Backup | None, voice_id: str, agent_id: str | None
    ) -> None:
        self._services = services
        self._backup = backup
        self._voice_id = voice_id
        self._agent_id = agent_id

    def speak(self, provider: str) -> Trial:
        """Have it say a sentence. Raises RequestError if there is no such provider, else VoceroError if it fails."""
        begun = time.monotonic()
        with deadline(TRIAL_SECONDS):
            if provider == LOCAL:
                return _heard(begun, self._local_speech())
            service = self._service(provider)
            with service.generate_audio(TEXT, voice_id=self._voice_id, model_id=MODEL, output_format=FORMAT) as stream:
                return _heard(begun, stream)

    def converse(self, provider: str) -> Trial:
        """Open a conversation as far as its metadata, and end it; raises as `speak`."""
        begun = time.monotonic()
        with deadline(TRIAL_SECONDS):
            if provider == LOCAL:
                self._open_local_leg()
            elif self._agent_id is None:
                text = "No agent is configured (ELEVENLABS_AGENT_ID) to try a conversation with."
                raise RequestError(text, code="no_agent")
            else:
                open_a_conversation(self._service(provider), self._agent_id)
        seconds = time.monotonic() - begun
        return Trial(first_byte_seconds=seconds, seconds=seconds)

    def _service(self, provider: str) -> ElevenLabsService:
        if provider not in self._services:
            raise _no_provider()
        return self._services[provider]

    def _local_backup(self) -> Backup:
        if self._backup is None:
            raise _no_provider()
        return self._backup

    def _local_speech(self) -> Iterable[bytes]:
        body = orjson.dumps({"text": TEXT, "model_id": MODEL})
        speech = self._local_backup().speech
        return speech.open(SpeechRoute.STREAM, self._voice_id, query=f"output_format={FORMAT}", body=body)

    def _open_local_leg(self) -> None:
        # Text alone: its ears are a process that takes seconds to open, and its voice is tried by `speak`.
        takeover = Takeover(agent_id="canary", conversation_id=f"canary_{token_hex(8)}", text_only=True)
        with closing(self._local_backup().legs.open(takeover)) as leg:
            try:
                leg.socket.receive(TRIAL_SECONDS)
            except TimeoutError:
                raise UpstreamTimeoutError("The backup's metadata does not come.", code="read_timeout") from None


def make_audible_canaries(
    settings: Settings, services: Mapping[str, ElevenLabsService], backup: Backup | None
) -> AudibleCanaries:
    """Build it as the settings say, for the providers that this worker has."""
    return AudibleCanaries(services, backup=backup, voice_id=settings.canary_voice_id, agent_id=canary_agent(settings))


def _no_provider() -> RequestError:
    return RequestError("This worker has no such provider.", param="provider")


def _heard(begun: float, pieces: Iterable[bytes]) -> Trial:
    audio, first = bytearray(), None
    for piece in pieces:
        if first is None:
            first = time.monotonic() - begun
        audio += piece
        if len(audio) > MOST_AUDIO_BYTES:
            break
    seconds = time.monotonic() - begun
    samples = audible(audio)
    return Trial(first_byte_seconds=first or seconds, seconds=seconds, size=len(audio), wav=_wav(samples.tobytes()))


def _wav(samples: bytes) -> bytes:
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples)
    return written.getvalue()
