"""What a client heard in a conversation, put together again as text, and what is wrong with it.

The key decision: what was spoken is read from the alignments of the audio that arrived, character by character, and
never from what anybody says was spoken. It is compared by words: a word whose last letter was not out may come again
from its begin (the next voice says it whole), every other word must come exactly once and in its turn.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BYTES_A_SECOND = 32_000
"""Of pcm_16000, which the campaign's agents speak."""

ROUNDING_SECONDS = 0.002
MOST_CUT = 3


@dataclass(frozen=True)
class Change:
    """Another provider speaks from now on: `at` by the caller's clock, `ran_out_at` when the sound ended or will.

    `is_awaited`: the user waits for it to speak, and is not on turn.
    """

    at: float
    provider: str
    cause: str
    spliced: bool
    ran_out_at: float
    is_awaited: bool


@dataclass
class Stretch:
    """What one provider said of an answer.

    `cut` is how many of the last characters may have been cut off in the middle, as far as anybody can hear.
    """

    provider: str
    characters: str = ""
    audible_characters: str = ""
    cut: int = 0
    _sound_seconds: float = 0.0
    _ends: list[float] = field(default_factory=list)

    def add(self, sound: bytes, alignment: Mapping[str, Any]) -> None:
        """Take a message of audio."""
        begin, self._sound_seconds = self._sound_seconds, self._sound_seconds + len(sound) / BYTES_A_SECOND
        self.characters += "".join(alignment.get("chars", ()))
        times = zip(alignment.get("char_start_times_ms", ()), alignment.get("char_durations_ms", ()), strict=True)
        self._ends += [begin + (start + duration) / 1000 for start, duration in times]
        if sound.strip(b"\0"):
            self.audible_characters = self.characters
        self.cut = sum(end > self._sound_seconds + ROUNDING_SECONDS for end in self._ends[-MOST_CUT:])


@dataclass
class Answer:
    """One answer of the agent's; `text` is None until it has come."""

    text: str | None
    event_id: int
    stretches: list[Stretch] = field(default_factory=list)
    interrupted: bool = False
    overtaken: bool = False
    missed: bool = False
    at: float = 0.0
    corrected: str | None = None

    @property
    def may_be_short(self) -> bool:
        """Whether the user broke in, or was told to have missed something, so that not all of it must be spoken."""
        return self.interrupted or self.overtaken or self.missed

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to be spoken."""
        return self.text is not None and self.mismatch() == "" and not _has_words(_flat(self.text)[self.position() :])

    def position(self) -> int:
        """How far in the text (with single blanks) the voices have come; see `mismatch` for whether they did."""
        return self._follow()[0]

    def mismatch(self) -> str:
        """What was spoken that is not the text's next word; empty when all is in its turn."""
        return self._follow()[1]

    def _follow(self) -> tuple[int, str]:
        text = _flat(self.text or "")
        position = cut = 0
        for number, stretch in enumerate(self.stretches):
            said = _flat(stretch.characters if number == len(self.stretches) - 1 else stretch.audible_characters)
            if not said:
                continue
            begins = [_next_word(text, position), _next_word(text, position - cut)]
            begin = next((begin for begin in begins if text[begin : begin + len(said)] == said), None)
            if begin is None:
                return position, f"{said[:60]!r} was spoken where {text[begins[0] : begins[0] + 60]!r} comes"
            position, cut = begin + len(said), min(stretch.cut, len(said))
        return position, ""


class Transcript:
    """Takes a client's events in order; `now` are Unix seconds."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.changes: list[Change] = []
        self.backup_audio_at: list[float | None] = []
        self.provider = "elevenlabs"
        self.last_event_id = 0
        self.problems: list[str] = []
        self._awaits_answer = True  # the greeting
        self._plays_until = 0.0

    @property
    def plays_until(self) -> float:
        """When a client that plays sound as it comes has played all of it."""
        return self._plays_until

    def user_asks(self) -> None:
        """Note that the user takes the turn."""
        self._awaits_answer = True
        if self.answers and not self.answers[-1].is_whole:
            self.answers[-1].overtaken = True

    def miss(self) -> None:
        """Note that something of the answer that is being said may never come to this client."""
        if self.answers and not self.answers[-1].is_whole:
            self.answers[-1].missed = True

    def take(self, event: Mapping[str, Any], now: float) -> None:
        """Note one event."""
        kind = event.get("type")
        if kind == "agent_response":
            self._take_text(event["agent_response_event"], now)
        elif kind == "audio":
            self._take_audio(event["audio_event"], now)
        elif kind == "interruption":
            if self.answers:
                self.answers[-1].interrupted = True
            self._plays_until = now
        elif kind == "agent_response_correction":
            self._take_correction(event["agent_response_correction_event"])
        elif kind == "agent_changed":
            changed = event["agent_changed_event"]
            self.provider = changed["to"]
            is_awaited = self._awaits_answer or bool(self.answers and not self.answers[-1].is_whole)
            self.changes.append(
                Change(now, self.provider, changed["cause"], changed["spliced"], self._plays_until, is_awaited)
            )
            self.backup_audio_at.append(None)

    def _take_text(self, event: Mapping[str, Any], now: float) -> None:
        self._awaits_answer = False
        self._note_id(event["event_id"])
        last = self.answers[-1] if self.answers else None
        if last is not None and last.text is None and not last.interrupted:
            last.text = event["agent_response"]  # its sound was there first
            return
        self.answers.append(Answer(event["agent_response"], event["event_id"], at=now))

    def _take_audio(self, event: Mapping[str, Any], now: float) -> None:
        self._note_id(event["event_id"])
        sound = base64.b64decode(event["audio_base_64"])
        if self.backup_audio_at and self.backup_audio_at[-1] is None:
            self.backup_audio_at[-1] = now
        if not self.answers or self.answers[-1].interrupted:
            self.answers.append(Answer(None, event["event_id"], at=now))
        answer = self.answers[-1]
        if not answer.stretches or answer.stretches[-1].provider != self.provider:
            answer.stretches.append(Stretch(self.provider))
        stretch = answer.stretches[-1]
        stretch.add(sound, event.get("alignment") or {})
        self._plays_until = max(self._plays_until, now) + len(sound) / BYTES_A_SECOND

    def _take_correction(self, event: Mapping[str, Any]) -> None:
        if self.answers:
            self.answers[-1].corrected = event["corrected_agent_response"]

    def _note_id(self, event_id: int) -> None:
        if event_id < self.last_event_id:
            self.problems.append(f"event id {event_id} came behind {self.last_event_id}")
        self.last_event_id = max(self.last_event_id, event_id)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _next_word(text: str, position: int) -> int:
    """The begin of the first word that was not spoken to its last letter at `position`."""
    begin = text.rfind(" ", 0, position) + 1
    end = text.find(" ", position)
    end = len(text) if end < 0 else end
    if begin < position and _has_words(text[position:end]):
        return begin
    if begin == position:
        return begin
    return min(end + 1, len(text)) if position else 0
