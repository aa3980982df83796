"""What a voice hands out: one sentence's sound, with the time of each of its characters.

The key decision: pieces are lossless. The texts of a reply's pieces, joined, are the reply; so captions, alignment
and "what was heard before the barge-in" are plain sums over pieces.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

BYTES_PER_SAMPLE = 2


@dataclass(frozen=True)
class Alignment:
    """When each character sounds, in seconds from the piece's begin; the three tuples have one length."""

    characters: tuple[str, ...]
    starts: tuple[float, ...]
    ends: tuple[float, ...]


@dataclass(frozen=True)
class SpokenPiece:
    """One sentence, spoken. `text` keeps the white space that followed it; `pcm` is s16le mono."""

    text: str
    pcm: bytes
    sample_rate: int
    alignment: Alignment

    @property
    def duration(self) -> float:
        """The sound's length in seconds."""
        return len(self.pcm) / (BYTES_PER_SAMPLE * self.sample_rate)


def align(text: str, anchors: Iterable[tuple[int, float]], duration: float) -> Alignment:
    """Spread known begins of words over all characters of `text`.

    `anchors` are (index of a character, seconds) as an engine reports them; those that run backwards or lie outside
    are left out, because espeak-ng repeats positions where one token becomes several words ("17:00"). Characters
    between two anchors share the time between them evenly; a character ends where the next begins.
    """
    fixed = _rising(anchors, len(text), duration)
    starts: list[float] = []
    for (index, begin), (next_index, next_begin) in itertools.pairwise(fixed):
        step = (next_begin - begin) / (next_index - index)
        starts.extend(begin + step * offset for offset in range(next_index - index))
    ends = (*starts[1:], duration) if starts else ()
    return Alignment(tuple(text), tuple(starts), ends)


def _rising(anchors: Iterable[tuple[int, float]], length: int, duration: float) -> list[tuple[int, float]]:
    kept = [(0, 0.0)]
    for index, seconds in anchors:
        if kept[-1][0] < index < length and kept[-1][1] <= seconds <= duration:
            kept.append((index, seconds))
    return [*kept, (length, duration)] if length else []
