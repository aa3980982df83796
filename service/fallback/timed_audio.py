"""Spoken sentences as a speech route sends them: encoded, cut into chunks, each with its characters and their times.

The key decision: a chunk is made when it is asked for. So a listener who leaves costs nothing for what was not heard,
and nothing holds a whole text's sound but the formats that must.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from service.fallback.audio_formats import AudioEncoder, resample
from service.fallback.spoken_piece import BYTES_PER_SAMPLE, SpokenPiece

# mp3 costs up to 20 ms of CPU a second of sound; more than a quarter of a second at once would delay every other
# request of the process.
CHUNK_SECONDS = 0.25


@dataclass(frozen=True)
class Character:
    """One character and when it sounds, in seconds from the begin of the whole."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Chunk:
    """Some encoded sound (perhaps none yet: codecs look ahead), the characters in it, and its time in the whole."""

    audio: bytes
    characters: tuple[Character, ...]
    begin: float
    seconds: float


TimedPiece = tuple[SpokenPiece, list[Character]]
"""A sentence, and those of its characters that are told to the listener, timed from the sentence's begin."""


def timed(piece: SpokenPiece) -> TimedPiece:
    """A sentence with all of its characters."""
    times = zip(piece.alignment.characters, piece.alignment.starts, piece.alignment.ends, strict=True)
    return piece, [Character(text, start, end) for text, start, end in times]


def encode_chunks(pieces: Iterable[TimedPiece], output_format: str) -> Iterator[Chunk]:
    """Give the chunks of sentences, which all have the first one's rate or are brought to it.

    Raises:
        RequestError: the format cannot be made here (when the first chunk is asked for).
    """
    encoder: AudioEncoder | None = None
    rate, clock = 0, 0.0
    for piece, characters in pieces:
        if encoder is None:
            rate, encoder = piece.sample_rate, AudioEncoder(output_format, source_rate=piece.sample_rate)
        pcm = resample(piece.pcm, source_rate=piece.sample_rate, target_rate=rate)
        step = int(CHUNK_SECONDS * rate) * BYTES_PER_SAMPLE
        waiting = [Character(each.text, each.start + clock, each.end + clock) for each in characters]
        for offset in range(0, len(pcm), step):
            part = pcm[offset : offset + step]
            begin = clock + offset / (BYTES_PER_SAMPLE * rate)
            is_last = offset + step >= len(pcm)
            due = [each for each in waiting if is_last or each.start < begin + CHUNK_SECONDS]
            waiting = waiting[len(due) :]
            yield Chunk(encoder.feed(part), tuple(due), begin, len(part) / (BYTES_PER_SAMPLE * rate))
        clock += len(pcm) / (BYTES_PER_SAMPLE * rate)
    if encoder is not None:
        yield Chunk(encoder.finish(), (), clock, 0.0)


def with_sound(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """Give the same sound in chunks none of which is empty: a codec that looks ahead holds its first ones back."""
    waiting: Chunk | None = None
    for chunk in chunks:
        if waiting is not None:
            seconds = waiting.seconds + chunk.seconds
            chunk = Chunk(chunk.audio, waiting.characters + chunk.characters, waiting.begin, seconds)  # noqa: PLW2901
        waiting = None if chunk.audio else chunk
        if chunk.audio:
            yield chunk


def alignment(characters: Iterable[Character]) -> dict[str, list[Any]] | None:
    """Give the times of characters in the shape of the HTTP routes; None for no characters."""
    known = list(characters)
    if not known:
        return None
    return {
        "characters": [each.text for each in known],
        "character_start_times_seconds": [round(each.start, 3) for each in known],
        "character_end_times_seconds": [round(each.end, 3) for each in known],
    }


def alignment_in_chunk(chunk: Chunk) -> dict[str, list[Any]] | None:
    """Give the times of a chunk's characters as the speech sockets have them: milliseconds from the chunk's begin."""
    if not chunk.characters:
        return None
    return {
        "chars": [each.text for each in chunk.characters],
        "charStartTimesMs": [max(0, round((each.start - chunk.begin) * 1000)) for each in chunk.characters],
        "charDurationsMs": [round((each.end - each.start) * 1000) for each in chunk.characters],
    }
