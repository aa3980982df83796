"""What an agent answers, on its way to the client: the words that are known, and how far the voice has come in them.

The key decision: a message of audio is measured and not read. Its sound lies between two quotation marks, so its
length is a subtraction as long as messages are alike, and a search for a byte when one is not; what stands around the
sound (the alignment) is put aside as it is. Only who must know where a voice broke off has it parsed.

"Sent" is what counts, not "heard": a client plays what it was sent unless it is told of an interruption, so the rest of
a broken answer goes behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.conversation.alignment import Alignment
from service.conversation.sound_format import SoundFormat
from service.conversation.spoken_text import (
    Reach,
    are_versions,
    reach_by_characters,
    reach_by_weight,
    weight_of,
)

MAX_ANSWER_CHARACTERS = 20_000
"""Of one answer's text; what is longer is cut. A spoken minute has a thousand."""

LEAST_SHARE = 0.6
"""By time alone an answer counts as broken off only if less of it than this can have been spoken: voices differ."""

QUIET_SECONDS = 1.5
"""Nothing came and nothing plays for so long: an answer of which nobody knows the end has ended."""

WRITING_SECONDS = 5.0
"""So long the parts of a written answer may keep others waiting: what writes them has its own pauses."""

GAP_SECONDS = 0.25
"""So long a client has nothing to play before it counts as a gap."""

SLACK_SECONDS = 0.25
"""So much of a missing end is not missed."""

_KEY = b'"audio_base_64"'
_MOST_AROUND = 110
"""Bytes around the sound of a message without an alignment."""

_NEVER = b"\0"  # no message begins or ends so
_LONG_AGO = float("-inf")


class SpeakingPace:
    """How fast this conversation's voices speak, in letters a second (`weight_of`), learnt from what they have said."""

    USUAL = 16.5
    _SLOWEST, _FASTEST = 6.0, 40.0
    _LEAST_SECONDS = 1.0
    _TRUST = 0.5

    __slots__ = ("letters_per_second",)

    def __init__(self) -> None:
        self.letters_per_second = self.USUAL

    def learn(self, weight: float, seconds: float) -> None:
        """Take in that so much was said in so much time; what no voice can have said so is no lesson."""
        if seconds < self._LEAST_SECONDS or not self._SLOWEST <= weight / seconds <= self._FASTEST:
            return
        self.letters_per_second += self._TRUST * (weight / seconds - self.letters_per_second)

    def forget(self) -> None:
        """Another voice speaks from now on."""
        self.letters_per_second = self.USUAL


@dataclass(frozen=True)
class _Part:
    """What one event told of the text; `event_id` is the agent's own."""

    event_id: int | None
    text: str


class AnswerOnItsWay:
    """One answer of an agent's. `clock` gives monotonic seconds; `plays_until` is when the client will have played
    what it was sent before. `is_written`: there is no sound to wait for.

    For one thread, but for `rest` and what else only looks.
    """

    __slots__ = (
        "_alignment", "_around", "_before", "_clock", "_cut_at", "_ends_at", "_head", "_heard", "_pace", "_parts",
        "_reached", "_seconds_of_letter", "_sent", "_streamed", "_tail", "event_id", "gaps", "is_announced",
        "is_audible", "is_declared_complete", "is_interrupted", "is_written", "text_at",
    )  # fmt: skip

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        sound_format: SoundFormat,
        pace: SpeakingPace,
        plays_until: float = _LONG_AGO,
        is_written: bool = False,
    ) -> None:
        self._clock = clock
        self._pace = pace
        self._seconds_of_letter = 0.75 / sound_format.bytes_per_second  # four letters of base64 are three bytes
        self._ends_at = plays_until
        self._before = ""  # what legs before have said of it
        self._parts: list[_Part] = []
        self._streamed = ""  # a written answer's text as it comes, until the whole is told
        self._sent = 0.0
        self._head, self._tail, self._around = _NEVER, _NEVER, 0
        self._alignment: Alignment | None = None
        self._cut_at: float | None = None
        self._heard: str | None = None
        self._reached: tuple[float, int, Reach] | None = None
        self.is_written = is_written
        self.gaps = 0
        """How often a client that plays what comes has run dry (`GAP_SECONDS`) in the middle of it."""
        self.is_announced = False
        """Whether the client was told the text."""
        self.is_interrupted = False
        self.is_declared_complete = False
        self.is_audible = True
        """False once it is known that its sound is only silence: then nothing of it counts as said."""
        self.event_id: int | None = None
        """The agent's own id of it; None while there is none."""
        self.text_at = _LONG_AGO
        """When the last of its text came (monotonic seconds)."""

    def set_format(self, sound_format: SoundFormat) -> None:
        """Count in this format, as long as there is no sound yet."""
        self._seconds_of_letter = 0.75 / sound_format.bytes_per_second

    # --- What comes

    def answer_text(self, event_id: int | None, text: str) -> None:
        """An `agent_response`: the whole text, or of several the next part, or the same once more."""
        text = text[:MAX_ANSWER_CHARACTERS]
        if not text.strip():
            return
        self._note_text(event_id)
        self._streamed = ""
        self.is_announced = True
        if self._before and text.strip() in {self.full_text.strip(), self._text.strip()}:
            return  # the next leg tells what is known here
        last = self._parts[-1] if self._parts else None
        if (
            last is not None
            and (event_id is None or last.event_id in {event_id, None})
            and are_versions(last.text, text)
        ):
            if len(text) > len(last.text):
                self._parts[-1] = _Part(event_id, text)
        elif len(self._text) + len(text) <= MAX_ANSWER_CHARACTERS:
            self._parts.append(_Part(event_id, text))

    def answer_part(self, event_id: int | None, text: str) -> None:
        """An `agent_chat_response_part` with text in it."""
        if text:
            self._note_text(event_id)
            self._streamed = (self._streamed + text)[:MAX_ANSWER_CHARACTERS]

    def audio_message(self, data: bytes | bytearray, begin: int, end: int) -> None:
        """A message of audio, `data[begin:end]`; `data` is its owner's again afterwards."""
        if data.startswith(self._head, begin) and data.endswith(self._tail, begin, end):
            letters = end - begin - self._around
        else:
            letters = self._measure(data, begin, end)
        seconds = letters * self._seconds_of_letter
        now, ends_at = self._clock(), self._ends_at
        if now > ends_at:
            if now - ends_at > GAP_SECONDS and self._is_gap(ends_at):
                self.gaps += 1
            ends_at = now
        self._sent += seconds
        self._ends_at = ends_at + seconds

    def interrupted(self) -> None:
        """The user broke in: what was not played by now was not heard, and nothing more of it comes."""
        if not self.is_interrupted:
            self.is_interrupted = True
            self._heard = None
            now = self._clock()
            self._cut_at = max(0.0, self._sent - max(0.0, self._ends_at - now))
            self._ends_at = min(self._ends_at, now)

    def waits_less(self, seconds: float) -> None:
        """What was to be played before it was called off: so many seconds of it."""
        self._ends_at -= seconds

    def corrected(self, heard: str) -> None:
        """An `agent_response_correction`: the agent's own word for what was heard before the user broke in."""
        self.interrupted()
        self._heard = heard[:MAX_ANSWER_CHARACTERS]

    def completed(self) -> None:
        """The agent says that it has said it all."""
        self.is_declared_complete = True

    def cut(self) -> None:
        """Nothing more of it comes; what was sent is played."""
        self.is_interrupted = True
        self._cut_at = self._sent

    def go_on(self, now: float, *, said: str, rest: str, announced: bool) -> None:
        """Another leg speaks the `rest` of `said` + `rest`: what comes from now on is of that alone. `announced`: the
        client has been told the text."""
        self._before = said
        self._parts = [_Part(None, rest)]
        self._forget_sound()
        self._sent = 0.0
        self._head = self._tail = _NEVER
        self.is_announced = announced
        self.is_audible = False
        self.is_declared_complete = False
        self.event_id = None
        self.text_at = now

    def settle(self) -> None:
        """It has been said to its end, as far as anybody can tell."""
        if self._parts and not self.is_interrupted and self._heard is None:
            if self._sent and self.is_audible and self._alignment is None:
                self._pace.learn(weight_of(self._text), self._sent)
            self._heard = self.full_text

    def finish(self) -> None:
        """Nothing comes of it any more, not even a correction: keep no more than the words."""
        if self._alignment is not None and self._sent and self.is_audible:
            self._pace.learn(weight_of(self._alignment.characters()), self._sent)
        self._heard = self.said
        self._parts = [_Part(None, self._text)] if self._parts else []
        self._forget_sound()

    # --- What is known

    @property
    def has_begun(self) -> bool:
        """Whether anything of it has come, text or sound."""
        return bool(self._sent or self._parts or self._streamed or self._before)

    @property
    def has_sound(self) -> bool:
        """Whether any of its sound has come."""
        return self._sent > 0

    @property
    def has_text(self) -> bool:
        """Whether its text is known."""
        return bool(self._parts)

    @property
    def ends_at(self) -> float:
        """When a client that plays what comes has run out of sound, or had (monotonic seconds)."""
        return self._ends_at

    @property
    def sent_seconds(self) -> float:
        """How much sound of it was sent, by the leg that speaks now."""
        return self._sent

    def plays_until(self, now: float) -> float:
        """When a client that plays what comes will have run out of sound; `now` if it has."""
        return max(now, self._ends_at)

    @property
    def full_text(self) -> str:
        """All of it, as far as it was told; without a telling, what the voice is known to have said."""
        return self._before + self._text

    @property
    def spoken_characters(self) -> int:
        """How many characters of `full_text` were sent, to the end of a word."""
        return len(self.said)

    @property
    def said(self) -> str:
        """What the user got of it: what was sent; of an answer that was interrupted, what was heard."""
        if self._heard is not None:
            return self._heard
        return self._before + self._text[: self._reach().position]

    def rest(self) -> str:
        """What is to be said still, from the begin of a word: `said` + `rest` is `full_text`; empty if it was
        interrupted, or is complete, or its text is not known."""
        if self.is_interrupted or self._heard is not None or not self._parts or self.is_complete:
            return ""
        return self._text[self._reach().position :]

    @property
    def is_complete(self) -> bool:
        """Whether all of the text that is known was sent, as far as can be told; False if none is known."""
        if not self._parts:
            return False
        if self._heard is not None:
            return self._heard == self.full_text
        if self.is_written:
            return self.is_announced
        return self._reach().covers_rest

    @property
    def misses_words(self) -> bool:
        """Whether it is beyond doubt that a part of the known text was not sent: enough of it to be heard, and
        by time alone so much that no voice can have been so quick (`LEAST_SHARE`)."""
        if self.is_interrupted or self._heard is not None or not self._parts or self.is_complete:
            return False
        if not self._sent or not self.is_audible:
            return not self.is_written
        reach = self._reach(slack=SLACK_SECONDS)
        if reach.covers_rest:
            return False
        return reach.is_certain or self._sent * self._pace.letters_per_second < LEAST_SHARE * weight_of(self._text)

    def is_over(self, now: float, *, is_sound_told: bool = True) -> bool:
        """Whether nothing more of it is to be expected, and what came of it has been played. Where its sound is not
        told (`audio_message`), the time that its text takes tells."""
        if self.is_interrupted or not self.has_begun:
            return True
        quiet_seconds = now - max(self._ends_at, self.text_at)
        if self.is_written:
            return quiet_seconds >= (0.0 if self.is_announced or self.is_declared_complete else WRITING_SECONDS)
        if not self._sent:
            speaking_seconds = weight_of(self._text) / self._pace.letters_per_second
            return not is_sound_told and quiet_seconds >= QUIET_SECONDS + speaking_seconds
        if now <= self._ends_at:
            return False
        return self.is_complete or (quiet_seconds >= QUIET_SECONDS and not self.misses_words)

    # --- Inside

    @property
    def _text(self) -> str:
        text = ""
        for part in self._parts:
            text += part.text if not text or text[-1].isspace() or part.text[0].isspace() else f" {part.text}"
        if not text and self._alignment is not None and not self._streamed:
            return self._alignment.spoken_by(self._counting_seconds)
        return text or self._streamed

    @property
    def _counting_seconds(self) -> float:
        """How much of the sound the user gets."""
        return self._sent if self._cut_at is None else self._cut_at

    def _note_text(self, event_id: int | None) -> None:
        self.text_at = self._clock()
        if event_id is not None:
            self.event_id = event_id

    def _is_gap(self, ran_dry_at: float) -> bool:
        """Whether the sound that comes now should have come before: it is not the first, and of words that were known
        when the client ran dry."""
        return bool(self._sent) and self.is_audible and self.text_at <= ran_dry_at and not self.is_complete

    def _measure(self, data: bytes | bytearray, begin: int, end: int) -> int:
        """The length of the sound in a message that is not like the one before it; keeps what stands around it."""
        start = data.find(_KEY, begin, end)
        start = data.find(b'"', start + len(_KEY), end) + 1 if start >= 0 else 0
        stop = data.find(b'"', start, end) if start else -1
        if stop < 0:
            return 0
        around = end - begin - (stop - start)
        if around <= _MOST_AROUND:
            self._head, self._tail, self._around = bytes(data[begin:start]), bytes(data[stop:end]), around
        else:
            self._alignment = self._alignment or Alignment()
            seconds = (stop - start) * self._seconds_of_letter
            self._alignment.add(bytes(data[begin:start]) + bytes(data[stop:end]), begin=self._sent, seconds=seconds)
        return stop - start

    def _forget_sound(self) -> None:
        self._streamed = ""
        self._alignment = None
        self._reached = None

    def _reach(self, slack: float = 0.0) -> Reach:
        """Where in `_text` the voice has come; remembered, since it is asked for while an answer is on its way."""
        if self.is_written:
            return Reach(len(self._text), is_certain=True, covers_rest=True)
        seconds = self._counting_seconds
        if not seconds or not self.is_audible:
            return Reach(0, is_certain=True)
        text = self._text
        if not slack and self._reached is not None and self._reached[:2] == (seconds, len(text)):
            return self._reached[2]
        if self._alignment is not None and (characters := self._alignment.spoken_by(seconds + slack)):
            reach = reach_by_characters(text, characters)
        else:
            reach = reach_by_weight(text, seconds * self._pace.letters_per_second)
        if not slack:
            self._reached = (seconds, len(text), reach)
        return reach
