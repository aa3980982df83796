"""Speech as the sandbox sends it: spoken locally, encoded, cut into chunks with their characters, and paced.

The key decision: chunks are made when they are asked for, and the pace is kept by waiting before a chunk is handed
out; so a client that goes away costs nothing for what it did not hear.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.catalog import CatalogVoice, Model
from sandbox.errors import ApiError
from sandbox.faults import Fault
from sandbox.languages import guess_language
from sandbox.state import SandboxState
from service.errors import RequestError
from service.fallback.audio_formats import AudioEncoder
from service.fallback.local_voice import SpokenPiece

PACE = 4.0
"""Seconds of sound that are made in a second, once the first is there."""

# mp3 costs up to 20 ms of CPU a second of sound; more than a quarter of a second at once would delay every other
# request of this one process.
CHUNK_SECONDS = 0.25
_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True)
class Order:
    """What is to be spoken, by whom and in which format; `language` is None for "as the text is"."""

    text: str
    voice: CatalogVoice
    model: Model
    output_format: str
    language: str | None = None
    speed: float = 1.0

    @property
    def cost(self) -> int:
        """The credits that it costs."""
        return max(1, round(len(self.text) * self.model.cost))


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


def speak(state: SandboxState, order: Order, fault: Fault | None) -> Iterator[Chunk]:
    """Give the order's chunks as fast as the real service would.

    Raises:
        ApiError: the format cannot be made here (when the first chunk is asked for).
    """
    began, offset, heard = time.monotonic(), 0.0, False
    for number, chunk in enumerate(_chunks(state, order, fault)):
        if number == 0:
            state.wait(order.model.latency)
        if not heard:  # the pace counts from the first sound: mp3 and opus hold their first chunks back
            began, offset, heard = time.monotonic(), chunk.begin, bool(chunk.audio)
        ahead = (chunk.begin - offset) / PACE * state.options.latency_scale - (time.monotonic() - began)
        time.sleep(max(0.0, ahead))  # also at 0: gives the other requests of this process their turn
        yield chunk


def with_sound(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Give the same sound in chunks none of which is empty: a codec that looks ahead holds its first ones back."""
    waiting: Chunk | None = None
    for chunk in chunks:
        if waiting is not None:
            seconds = waiting.seconds + chunk.seconds
            chunk = Chunk(chunk.audio, waiting.characters + chunk.characters, waiting.begin, seconds)  # noqa: PLW2901
        waiting = None if chunk.audio else chunk
        if chunk.audio:
            yield chunk


def _chunks(state: SandboxState, order: Order, fault: Fault | None) -> Iterator[Chunk]:
    encoder: AudioEncoder | None = None
    clock = 0.0
    for piece, characters in _pieces(state, order, fault):
        encoder = encoder or _encoder(order, piece.sample_rate)
        step = int(CHUNK_SECONDS * piece.sample_rate) * _BYTES_PER_SAMPLE
        waiting = [Character(c.text, c.start + clock, c.end + clock) for c in characters]
        for offset in range(0, len(piece.pcm), step):
            pcm = piece.pcm[offset : offset + step]
            begin = clock + offset / (_BYTES_PER_SAMPLE * piece.sample_rate)
            last = offset + step >= len(piece.pcm)
            due = [c for c in waiting if last or c.start < begin + CHUNK_SECONDS]
            waiting = waiting[len(due) :]
            seconds = len(pcm) / (_BYTES_PER_SAMPLE * piece.sample_rate)
            yield Chunk(encoder.feed(pcm), tuple(due), begin, seconds)
        clock += len(piece.pcm) / (_BYTES_PER_SAMPLE * piece.sample_rate)
    if encoder is not None:
        yield Chunk(encoder.finish(), (), clock, 0.0)


def _encoder(order: Order, source_rate: int) -> AudioEncoder:
    try:
        return AudioEncoder(order.output_format, source_rate=source_rate)
    except RequestError as exc:
        raise ApiError("not_implemented", exc.message, param="output_format") from exc


def _pieces(state: SandboxState, order: Order, fault: Fault | None) -> Iterator[tuple[SpokenPiece, list[Character]]]:
    """Give sentence after sentence with its characters, silenced or ended early as the fault says."""
    language = order.language or guess_language(order.text, otherwise=order.voice.language)
    share = fault.truncate if fault is not None else None
    left = len(order.text) if share is None else int(len(order.text) * share)
    spoken = state.voice.speak(order.text, language=language, speed=order.speed, variant=order.voice.variant)
    for piece in spoken:
        if left <= 0:
            return
        timed = zip(piece.alignment.characters, piece.alignment.starts, piece.alignment.ends, strict=True)
        characters = [Character(text, start, end) for text, start, end in timed]
        yield _damaged(piece, characters, left, silent=fault is not None and fault.silence), characters[:left]
        left -= len(piece.text)


def _damaged(piece: SpokenPiece, characters: list[Character], kept: int, *, silent: bool) -> SpokenPiece:
    pcm = bytes(len(piece.pcm)) if silent else piece.pcm
    if kept < len(characters):
        pcm = pcm[: int(characters[kept].start * piece.sample_rate) * _BYTES_PER_SAMPLE]
    return SpokenPiece(piece.text, pcm, piece.sample_rate, piece.alignment)
