"""Speech as the sandbox sends it: spoken locally, with the fault in it that a rule chose, and paced.

The key decision: chunks are made when they are asked for (`service.fallback.timed_audio`), and the pace is kept by
waiting before a chunk is handed out; so a client that goes away costs nothing for what it did not hear.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from sandbox.catalog import CatalogVoice, Model
from sandbox.errors import ApiError
from sandbox.faults import Fault
from sandbox.state import SandboxState
from service.errors import RequestError
from service.fallback.spoken_piece import BYTES_PER_SAMPLE, SpokenPiece
from service.fallback.text_language import guess_language
from service.fallback.timed_audio import Character, Chunk, TimedPiece, encode_chunks, timed

PACE = 4.0
"""Seconds of sound that are made in a second, once the first is there."""


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


def _chunks(state: SandboxState, order: Order, fault: Fault | None) -> Iterator[Chunk]:
    try:
        yield from encode_chunks(_pieces(state, order, fault), order.output_format)
    except RequestError as exc:
        raise ApiError("not_implemented", exc.message, param="output_format") from exc


def _pieces(state: SandboxState, order: Order, fault: Fault | None) -> Iterator[TimedPiece]:
    """Give sentence after sentence with its characters, silenced or ended early as the fault says."""
    language = order.language or guess_language(order.text, otherwise=order.voice.language)
    share = fault.truncate if fault is not None else None
    left = len(order.text) if share is None else int(len(order.text) * share)
    spoken = state.voice.speak(order.text, language=language, speed=order.speed, variant=order.voice.variant)
    for piece in spoken:
        if left <= 0:
            return
        _, characters = timed(piece)
        yield _damaged(piece, characters, left, silent=fault is not None and fault.silence), characters[:left]
        left -= len(piece.text)


def _damaged(piece: SpokenPiece, characters: list[Character], kept: int, *, silent: bool) -> SpokenPiece:
    pcm = bytes(len(piece.pcm)) if silent else piece.pcm
    if kept < len(characters):
        pcm = pcm[: int(characters[kept].start * piece.sample_rate) * BYTES_PER_SAMPLE]
    return SpokenPiece(piece.text, pcm, piece.sample_rate, piece.alignment)
