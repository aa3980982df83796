"""Puts answers aside that are to be judged: a few of all, as they go to the client.

The key decision: whether an answer is wanted is decided once, where it begins. Of one that is not, nothing is kept and
nobody has to ask again: `is_open` is false until the next begins.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from service.audio_quality.sample import MAX_SECONDS, AnswerName, Sample, bytes_per_second, format_of

MAX_MESSAGES = 2_000
_AROUND_BYTES = 400_000  # of alignments, beside the sound
_MAX_NAME_CHARACTERS = 128


class AnswerTap:
    """The answers of one conversation (or one request's), of which `share` (0 to 1) are handed to `submit`.

    For one thread; nothing here waits. An answer that was interrupted is to be dropped: nobody knows how long it
    should have been.
    """

    __slots__ = (
        "_capability", "_chance", "_is_cut", "_messages", "_provider", "_room", "_share", "_sound_format", "_submit",
        "_voice", "began_at", "is_open",
    )  # fmt: skip

    def __init__(
        self,
        share: float,
        submit: Callable[[Sample], None],
        *,
        capability: str,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._share = share
        self._submit = submit
        self._capability = capability
        self._chance = chance
        self._messages: list[bytes] | None = None
        self._provider = self._voice = self._sound_format = ""
        self._room = 0
        self._is_cut = False
        self.is_open = False
        """Whether `frame` is to be called."""
        self.began_at = 0.0
        """When the first message of the answer came, in seconds since 1970; before one has come: of an earlier one."""

    @property
    def is_sampling(self) -> bool:
        """Whether an answer has begun that will be handed in; it may have had enough frames already."""
        return self._messages is not None

    def begins(self, provider: str, voice: str, sound_format: str) -> None:
        """An answer begins, spoken by `voice` (a voice's or an agent's id); the one before, if open, is dropped."""
        self.drop()
        found = format_of(sound_format)
        if found is None or self._chance() >= self._share:
            return
        self._messages = []
        self._provider, self._voice, self._sound_format = provider, voice[:_MAX_NAME_CHARACTERS], sound_format
        self._room = int(MAX_SECONDS * bytes_per_second(found) * 4 / 3) + _AROUND_BYTES
        self._is_cut = False
        self.is_open = True

    def frame(self, raw: bytes) -> None:
        """A message of audio, as it goes to the client."""
        if self._messages is None:
            return
        if not self._messages:
            self.began_at = time.time()
        self._room -= len(raw)
        if self._room < 0 or len(self._messages) >= MAX_MESSAGES:
            self._is_cut, self.is_open = True, False
        else:
            self._messages.append(raw)

    def ends(self, text: str, expected_seconds: float | None = None, *, answer: AnswerName | None = None) -> None:
        """The answer has ended by itself; `text` is what it should say, `expected_seconds` how long that should take
        if it is known better than its alignment tells. What is found is kept as that of `answer`."""
        messages, self._messages, self.is_open = self._messages, None, False
        if messages:
            self._submit(
                Sample(
                    provider=self._provider,
                    capability=self._capability,
                    voice=self._voice,
                    sound_format=self._sound_format,
                    characters=len(text),
                    messages=tuple(messages),
                    expected_seconds=expected_seconds,
                    is_cut=self._is_cut,
                    answer=answer,
                )
            )

    def drop(self) -> None:
        """Nothing is to be said of this answer: it was interrupted, or its leg broke."""
        self._messages, self.is_open = None, False
