"""The backup's ears from an OpenAI-compatible endpoint (`POST /audio/transcriptions`).

The key decision: an utterance goes up as a WAV file at the rate at which it came; whoever recognises it resamples.
"""

from __future__ import annotations

import orjson

from service.fallback.audio_formats import wav_header
from service.fallback.backup_lines import base_language
from service.fallback.local_ears import Transcript
from service.fallback.openai_endpoint import EndpointError, OpenAiEndpoint
from service.metrics import PartFailure

PATH = "/audio/transcriptions"
MAX_TEXT_CHARACTERS = 4_000
_MOST_BYTES = 65_536


class OpenAiEars:
    """Understands utterances; any number of threads may ask."""

    def __init__(self, endpoint: OpenAiEndpoint, *, model: str) -> None:
        self._endpoint = endpoint
        self._model = model

    def transcribe(self, pcm: bytes, sample_rate: int, language: str | None = None) -> Transcript | None:
        """Recognise s16le mono sound, see `service.fallback.local_agent_hearing.Ears`.

        Raises:
            EndpointError: there is no transcript.
        """
        fields = {"model": self._model, "response_format": "json"}
        if (base := base_language(language)) is not None:
            fields["language"] = base
        file = wav_header(len(pcm), sample_rate) + pcm
        body = self._endpoint.post_file(PATH, fields, file, most_bytes=_MOST_BYTES)
        try:
            text = orjson.loads(body)["text"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            text = None  # raised below: the cause would quote the answer
        if not isinstance(text, str):
            raise EndpointError("the answer makes no sense", cause=PartFailure.BROKEN)
        return Transcript(text.strip()[:MAX_TEXT_CHARACTERS], base or "", 1.0)
