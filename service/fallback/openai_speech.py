"""The backup's voice from an OpenAI-compatible endpoint (`POST /audio/speech`).

The key decision: a request a sentence. The first sound is there when the first sentence is, however long the answer;
and what fails in the middle has been said up to a full stop, where another voice can go on.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator

from service.fallback.openai_endpoint import EndpointError, OpenAiEndpoint
from service.fallback.sentences import split_sentences
from service.fallback.spoken_piece import BYTES_PER_SAMPLE, SpokenPiece, align
from service.fallback.voice_choice import VoiceChoice
from service.metrics import PartFailure

PATH = "/audio/speech"
SAMPLE_RATE = 24_000
"""Of `response_format: pcm`, s16le mono (https://platform.openai.com/docs/guides/text-to-speech)."""

MAX_SECONDS = 90.0
"""Of one sentence, which has 200 characters at most."""

_SLOWEST, _FASTEST = 0.25, 4.0


class OpenAiVoice:
    """A voice; any number of threads may speak with one.

    `voice` is the usual one; a `VoiceChoice` names others. `seconds` bound one sentence: somebody waits in silence.
    """

    kind = "openai"

    def __init__(self, endpoint: OpenAiEndpoint, *, model: str, voice: str, seconds: float) -> None:
        self._endpoint = endpoint
        self._model = model
        self._voice = voice
        self._seconds = seconds

    def speak(
        self,
        text: str,
        *,
        language: str = "en",  # noqa: ARG002 (the model hears it in the text)
        speed: float = 1.0,
        variant: str | None = None,
    ) -> Iterator[SpokenPiece]:
        """Yield one piece a sentence, see `service.fallback.local_voice.Voice`.

        Raises:
            EndpointError: a sentence could not be had; those before it were.
        """
        voice = VoiceChoice.parse(variant).remote or self._voice
        for sentence in split_sentences(text):
            pcm, rate = self._sound(sentence, voice, speed)
            duration = len(pcm) / (BYTES_PER_SAMPLE * rate)
            # There is no alignment to be had: characters share the time evenly.
            yield SpokenPiece(sentence, pcm, rate, align(sentence, (), duration))

    def _sound(self, sentence: str, voice: str, speed: float) -> tuple[bytes, int]:
        document = {
            "model": self._model,
            "input": sentence.strip(),
            "voice": voice,
            "response_format": "pcm",
            "speed": min(max(speed, _SLOWEST), _FASTEST),
        }
        most = round(MAX_SECONDS * SAMPLE_RATE) * BYTES_PER_SAMPLE
        body = self._endpoint.post_json(PATH, document, most_bytes=most, seconds=self._seconds)
        pcm, rate = _of_wav(body) if body.startswith(b"RIFF") else (body, SAMPLE_RATE)
        # An endpoint that says 200 and is silent or talks JSON must not be played.
        if body.startswith((b"{", b"<")) or not any(pcm):
            raise EndpointError("the answer is no speech", cause=PartFailure.BROKEN)
        return pcm[: len(pcm) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE], rate


def _of_wav(body: bytes) -> tuple[bytes, int]:
    """The sound of a WAV file, which some compatible servers send whatever they are asked for."""
    try:
        with wave.open(io.BytesIO(body)) as file:
            if (file.getnchannels(), file.getsampwidth()) == (1, BYTES_PER_SAMPLE):
                # A server that streams does not know the length that its header states.
                return file.readframes(len(body)), file.getframerate()
    except (wave.Error, EOFError):
        pass
    raise EndpointError("the answer is in an unknown format", cause=PartFailure.BROKEN)
