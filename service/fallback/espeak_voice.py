"""Real speech by espeak-ng, a sentence at a time, with the time of every character.

The key decision: one call of the engine a sentence. That is short enough (about 10 ms for the longest) to run on a
gevent worker's own thread, and gives the first sound after about a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator

from service.fallback.espeak_engine import EspeakEngine, shared_engine
from service.fallback.sentences import split_sentences
from service.fallback.spoken_piece import BYTES_PER_SAMPLE, SpokenPiece, align
from service.fallback.voice_variants import VoiceVariant, find_variant

_WORDS_PER_MINUTE = 165
_ENGINE_VOICES = {"en": "en-us", "en-gb": "en-gb", "en-us": "en-us", "es": "es", "es-mx": "es-419"}


class EspeakVoice:
    """Speaks with espeak-ng; the engine is loaded by `start`, or by the first sentence."""

    kind = "espeak-ng"

    def start(self) -> None:
        """Load the engine now, so that a broken installation shows at start and not at the first sentence.

        Raises:
            ConfigurationError: espeak-ng cannot be loaded.
        """
        shared_engine()

    def speak(
        self, text: str, *, language: str = "en", speed: float = 1.0, variant: str | None = None
    ) -> Iterator[SpokenPiece]:
        """Yield one piece a sentence, see `service.fallback.local_voice.Voice`."""
        speaker = find_variant(variant)
        engine = shared_engine()
        for sentence in split_sentences(text):
            yield _speak_sentence(engine, sentence, _engine_voice(language), _rate(speed), speaker)


def _speak_sentence(engine: EspeakEngine, sentence: str, voice: str, rate: int, speaker: VoiceVariant) -> SpokenPiece:
    spoken = engine.say(sentence, voice=voice, suffix=speaker.espeak_suffix, rate=rate, pitch=speaker.espeak_pitch)
    duration = len(spoken.pcm) / (BYTES_PER_SAMPLE * engine.sample_rate)
    alignment = align(sentence, spoken.words, duration)
    return SpokenPiece(sentence, spoken.pcm, engine.sample_rate, alignment)


def _engine_voice(language: str) -> str:
    tag = language.lower().replace("_", "-")
    return _ENGINE_VOICES.get(tag) or _ENGINE_VOICES.get(tag.partition("-")[0], tag)


def _rate(speed: float) -> int:
    return round(_WORDS_PER_MINUTE * min(max(speed, 0.5), 2.0))
