"""The local agent's voice: text in, spoken sentences out, without any cloud.

The key decision: a voice is an iterator of whole sentences. Each is made when it is asked for, so that the first is
on its way before the second exists, and a barge-in costs nothing for what was never spoken.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Protocol

import structlog

from service.fallback.espeak_voice import EspeakVoice
from service.fallback.spoken_piece import Alignment, SpokenPiece
from service.fallback.tone_voice import ToneVoice
from service.fallback.voice_variants import DEFAULT_VARIANT, VOICE_VARIANTS, VoiceVariant

__all__ = [
    "DEFAULT_VARIANT",
    "VOICE_VARIANTS",
    "Alignment",
    "EspeakVoice",
    "SpokenPiece",
    "ToneVoice",
    "Voice",
    "VoiceVariant",
    "open_voice",
]

log = structlog.get_logger(__name__)


class Voice(Protocol):
    """Turns text into sound; any number of threads may speak with one voice."""

    @property
    def kind(self) -> str:
        """ "espeak-ng" for real speech, "tones" for beeps as long as the speech would be."""

    def speak(
        self, text: str, *, language: str = "en", speed: float = 1.0, variant: str | None = None
    ) -> Iterator[SpokenPiece]:
        """Yield one piece a sentence; their texts, joined, are `text`. Blank text yields nothing.

        `language` is a tag like "en", "en-GB" or "es"; one that the voice does not speak is read as English.
        `speed` is 1.0 for the normal pace, within 0.5 to 2.0. `variant` is a name of `VOICE_VARIANTS`.

        Raises:
            ValueError: no such variant (when the first piece is asked for).
        """


def open_voice() -> Voice:
    """Return real speech when the `local` extra is installed, else tones; the log says which."""
    if importlib.util.find_spec("espeakng_loader") is None:
        log.warning("voice is tones, not speech", missing_package="espeakng-loader", install="vocero[local]")
        return ToneVoice()
    voice = EspeakVoice()
    voice.start()
    log.info("voice is ready", kind=voice.kind)
    return voice
