"""A voice that needs no engine: a soft tone for each word, as long as the word would take to say.

The key decision: it keeps the pace of speech and its silences, so that everything that depends on time (captions,
barge-in, pacing, meters) works alike with LOCAL=0; nobody will take it for speech.
"""

from __future__ import annotations

import array
import math
import re
import sys
from collections.abc import Iterator

from service.fallback.sentences import split_sentences
from service.fallback.spoken_piece import BYTES_PER_SAMPLE, SpokenPiece, align
from service.fallback.voice_variants import find_variant

_SAMPLE_RATE = 16_000
_SECONDS_PER_CHARACTER = 0.065
_GAP_SECONDS = 0.06
_PAUSE_SECONDS = 0.3
_FADE_SECONDS = 0.01
_AMPLITUDE = 6_000
_SEMITONE = 2 ** (1 / 12)
_MELODY = (0, 2, -1, 3, 1, -2)
_WORD = re.compile(r"\w+(?:[.,:'’]\w+)*")


class ToneVoice:
    """Speaks in tones; has no state."""

    kind = "tones"

    def speak(
        self,
        text: str,
        *,
        language: str = "en",  # noqa: ARG002 (tones sound alike in every language)
        speed: float = 1.0,
        variant: str | None = None,
    ) -> Iterator[SpokenPiece]:
        """Yield one piece a sentence, see `service.fallback.local_voice.Voice`."""
        base = find_variant(variant).tone_hertz
        pace = 1 / min(max(speed, 0.5), 2.0)
        for sentence in split_sentences(text):
            yield _hum(sentence, base, pace)


def _hum(sentence: str, base: float, pace: float) -> SpokenPiece:
    samples = array.array("h")
    anchors: list[tuple[int, float]] = []
    for number, word in enumerate(_WORD.finditer(sentence)):
        anchors.append((word.start(), len(samples) / _SAMPLE_RATE))
        hertz = base * _SEMITONE ** _MELODY[number % len(_MELODY)]
        samples += _tone(hertz, pace * _SECONDS_PER_CHARACTER * len(word.group()))
        samples += _silence(pace * _GAP_SECONDS)
    samples += _silence(pace * _PAUSE_SECONDS)
    if sys.byteorder == "big":
        samples.byteswap()
    pcm = samples.tobytes()
    duration = len(pcm) / (BYTES_PER_SAMPLE * _SAMPLE_RATE)
    return SpokenPiece(sentence, pcm, _SAMPLE_RATE, align(sentence, anchors, duration))


def _tone(hertz: float, seconds: float) -> array.array[int]:
    count = round(seconds * _SAMPLE_RATE)
    fade = max(1, round(_FADE_SECONDS * _SAMPLE_RATE))
    step = 2 * math.pi * hertz / _SAMPLE_RATE
    return array.array(
        "h",
        (
            round(_AMPLITUDE * min(1.0, index / fade, (count - index) / fade) * math.sin(step * index))
            for index in range(count)
        ),
    )


def _silence(seconds: float) -> array.array[int]:
    return array.array("h", bytes(BYTES_PER_SAMPLE * round(seconds * _SAMPLE_RATE)))
