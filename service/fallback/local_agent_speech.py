"""One answer on its way out: what is sent when, and how much of it the user can have heard.

The key decision: time is a plain number that the owner passes in, and nothing here waits. The agent's one thread asks
`due(now)` for what to send and `next_at` for when to ask again; so pacing and barge-in are sums, not races.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.fallback import local_agent_events as events
from service.fallback.audio_formats import encode
from service.fallback.local_agent_events import Event
from service.fallback.local_agent_profile import BYTES_PER_SECOND
from service.fallback.spoken_piece import Alignment, SpokenPiece
from service.fallback.takeover import Splice

SENTENCES_AHEAD = 3
ROOM_SECONDS = 30.0


@dataclass(frozen=True)
class Pace:
    """How an answer is sent. ElevenLabs sends in bursts, faster than real time; the client's queue takes up the slack.

    The first `lead_seconds` of sound go out at once, the rest `factor` times as fast as it sounds, in chunks of
    `chunk_seconds`. A written answer comes in parts of `words_a_part`, `part_seconds` apart.
    """

    factor: float = 3.0
    lead_seconds: float = 1.0
    chunk_seconds: float = 0.2
    words_a_part: int = 3
    part_seconds: float = 0.03


@dataclass(frozen=True)
class Chunk:
    """Encoded sound; `begin` and `seconds` are its place in the answer and its length."""

    sound: bytes
    begin: float
    seconds: float
    alignment: dict[str, list[Any]]
    ends_sentence: bool


class PlaybackClock:
    """What a client that plays sound as it comes has played by now; it stalls when it has run out of sound.

    `ends_at` is when the client will have played what others have sent it before.
    """

    def __init__(self, *, ends_at: float = float("-inf")) -> None:
        self._sent_seconds = 0.0
        self.ends_at = ends_at

    def sent(self, seconds: float, now: float) -> None:
        """Note that so much sound was sent now."""
        self._sent_seconds += seconds
        self.ends_at = max(self.ends_at, now) + seconds

    def heard_seconds(self, now: float) -> float:
        """How much of the sound has been played."""
        return self._sent_seconds - max(0.0, self.ends_at - now) if self._sent_seconds else 0.0


class SpokenAnswer:
    """An answer with sound: sentences are added by the voice's thread through the agent's mailbox, chunks leave.

    `room` holds the voice back to a few sentences ahead; `cancelled` ends it. Everything else is for one thread.
    Of a `splice` only the rest is spoken, and its begin counts as heard.
    """

    def __init__(
        self,
        event_id: int,
        text: str,
        *,
        output_format: str,
        pace: Pace,
        now: float = 0.0,
        splice: Splice | None = None,
    ) -> None:
        self.event_id = event_id
        self.text = text
        self.to_speak = text if splice is None else splice.rest
        self.cancelled = threading.Event()
        self.room = threading.Semaphore(SENTENCES_AHEAD)
        self._output_format = output_format
        self._pace = pace
        self._clock = PlaybackClock() if splice is None else PlaybackClock(ends_at=now + splice.unplayed_seconds)
        self._chunks: deque[Chunk] = deque()
        self._character_ends = [0.0] * (len(text) - len(self.to_speak))
        self._spoken_seconds = 0.0
        self._first_sent_at: float | None = None
        self._announced = splice is not None and not splice.announce
        self._complete = False

    def encoded(self, piece: SpokenPiece) -> bytes:
        """Encode a sentence (on the voice's thread: it costs some milliseconds)."""
        return encode(piece.pcm, self._output_format, source_rate=piece.sample_rate)

    def wait_for_room(self) -> bool:
        """Wait until the voice may speak the next sentence (on its thread); False when nobody wants it any more."""
        while not self.cancelled.is_set():
            if self.room.acquire(timeout=ROOM_SECONDS):
                return not self.cancelled.is_set()
        return False

    def add(self, piece: SpokenPiece, sound: bytes) -> None:
        """Take a sentence, and its sound from `encoded`."""
        if not sound:
            self.room.release()
        rate = BYTES_PER_SECOND[self._output_format]
        begin = self._spoken_seconds
        self._chunks.extend(_cut(sound, piece.alignment, begin, rate, self._pace.chunk_seconds))
        self._spoken_seconds = begin + len(sound) / rate
        self._character_ends.extend(min(begin + end, self._spoken_seconds) for end in piece.alignment.ends)

    def complete(self) -> None:
        """Note that no more sentences come."""
        self._complete = True

    def next_at(self) -> float | None:
        """When to ask again, or None while there is nothing but to wait for the voice."""
        if self._chunks:
            return self._due_at(self._chunks[0])
        if not self._complete:
            return None
        return self._clock.ends_at

    def due(self, now: float) -> Iterator[Event]:
        """Give out what is to be sent now; each event counts as sent when it is taken."""
        if self._complete and not self._chunks and not self._announced:
            yield self._announce()  # nothing to be heard in it, so no chunk announces it
        while self._chunks and self._due_at(self._chunks[0]) <= now:
            if not self._announced:
                yield self._announce()
            chunk = self._chunks.popleft()
            if self._first_sent_at is None:
                self._first_sent_at = now
            self._clock.sent(chunk.seconds, now)
            if chunk.ends_sentence:
                self.room.release()
            yield events.audio(self.event_id, chunk.sound, chunk.alignment)

    def is_over(self, now: float) -> bool:
        """Whether everything was sent and the client has had the time to play it."""
        return self._complete and self._announced and not self._chunks and now >= self._clock.ends_at

    def cancel(self) -> None:
        """Stop: the voice speaks no further, and nothing more is due."""
        self.cancelled.set()
        self.room.release()
        self._chunks.clear()
        self._complete = True

    @property
    def has_begun(self) -> bool:
        """Whether the client has been told of this answer."""
        return self._announced

    def heard_text(self, now: float) -> str:
        """Return the answer up to the last word that the user has heard to its end."""
        heard = max(0.0, self._clock.heard_seconds(now))
        # A tenth of a millisecond: sums of floats must not cost the last word.
        count = bisect_right(self._character_ends, heard + 1e-4)
        if count >= len(self.text):
            return self.text
        text = self.text[:count]
        if not self.text[count].isspace():
            text = text[: max(text.rfind(space) for space in " \n\t") + 1]
        return text.rstrip()

    def _announce(self) -> Event:
        self._announced = True
        return events.agent_response(self.event_id, self.text)

    def _due_at(self, chunk: Chunk) -> float:
        if self._first_sent_at is None:
            return float("-inf")
        return self._first_sent_at + max(0.0, chunk.begin - self._pace.lead_seconds) / self._pace.factor


class WrittenAnswer:
    """An answer in text-only mode: parts as a language model streams them, then the whole.

    Of a `splice` only the parts of the rest are sent, and the whole only if the client was not told it.
    """

    def __init__(self, event_id: int, text: str, *, pace: Pace, now: float, splice: Splice | None = None) -> None:
        self.event_id = event_id
        self.text = text
        self._pace = pace
        to_write = text if splice is None else splice.rest
        parts = [events.chat_response_part(event_id, "delta", part) for part in _parts(to_write, pace.words_a_part)]
        begins = splice is None or not splice.spoken
        self._events = deque(
            [
                *([events.chat_response_part(event_id, "start")] if begins else []),
                *parts,
                events.chat_response_part(event_id, "stop"),
                *([events.agent_response(event_id, text)] if splice is None or splice.announce else []),
            ]
        )
        self._due_at = now

    def next_at(self) -> float | None:
        """When to ask again."""
        return self._due_at

    def due(self, now: float) -> Iterator[Event]:
        """Give out what is to be sent now."""
        while self._events and self._due_at <= now:
            self._due_at += self._pace.part_seconds if len(self._events) > 2 else 0.0
            yield self._events.popleft()

    def rest(self) -> Iterator[Event]:
        """Give out all that is left: a reader loses nothing when the next question comes early."""
        while self._events:
            yield self._events.popleft()

    def is_over(self, now: float) -> bool:  # noqa: ARG002 (the same surface as SpokenAnswer's)
        """Whether everything was sent."""
        return not self._events


Answer = SpokenAnswer | WrittenAnswer


def _parts(text: str, words: int) -> Iterator[str]:
    """Cut text after every so many words; the parts, joined, are the text."""
    begin = position = count = 0
    while position < len(text):
        position = text.find(" ", position) + 1 or len(text)
        count += 1
        if count == words or position == len(text):
            yield text[begin:position]
            begin, count = position, 0


def _cut(sound: bytes, alignment: Alignment, begin: float, rate: int, chunk_seconds: float) -> Iterator[Chunk]:
    """Cut a sentence's sound into chunks, each with the characters that begin in it."""
    size = max(2, int(rate * chunk_seconds) // 2 * 2)
    index = 0
    for offset in range(0, len(sound), size):
        part = sound[offset : offset + size]
        is_last = offset + size >= len(sound)
        chunk_begin, chunk_end = offset / rate, (offset + len(part)) / rate
        first = index
        while index < len(alignment.starts) and (is_last or alignment.starts[index] < chunk_end):
            index += 1
        times = _chunk_alignment(alignment, first, index, chunk_begin)
        yield Chunk(part, begin + chunk_begin, len(part) / rate, times, ends_sentence=is_last)


def _chunk_alignment(alignment: Alignment, first: int, last: int, begin: float) -> dict[str, list[Any]]:
    starts = alignment.starts[first:last]
    ends = alignment.ends[first:last]
    return {
        "chars": list(alignment.characters[first:last]),
        "char_start_times_ms": [max(0, round((start - begin) * 1000)) for start in starts],
        "char_durations_ms": [max(0, round((end - start) * 1000)) for start, end in zip(starts, ends, strict=True)],
    }
