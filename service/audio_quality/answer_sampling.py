"""Which part of a conversation is an answer to be judged: from the end of one turn to the end of the next.

The key decision: it goes by turns, legs and the agent's events, and the way of the audio is touched only while an
answer is being sampled: `copy_audio_to` is then given what takes a copy of each message, and None when that is over.
So a frame of an answer that is not sampled costs nothing.

What an agent says of itself (a greeting) belongs to the turn behind it, sound and words alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.audio_quality.sample import AnswerName
from service.audio_quality.tap import AnswerTap
from service.storage.conversation_records import Leg

MAX_CHARACTERS = 20_000
_CUT_SHORT = frozenset({"interruption", "agent_response_correction"})

TakeCopy = Callable[[bytes], None]


class AnswerSampling:
    """One conversation's, with the agent `voice`; for one thread, and nothing here waits."""

    def __init__(self, tap: AnswerTap, *, voice: str, copy_audio_to: Callable[[TakeCopy | None], None]) -> None:
        self._tap = tap
        self._voice = voice
        self._copy_audio_to = copy_audio_to
        self._provider = self._sound_format = ""
        self._texts: list[str] = []

    def leg_begins(self, provider: str, sound_format: str, *, midway: bool = False) -> None:
        """`provider` speaks from now on, in a format like "pcm_16000"; what another has begun is not judged, nor
        (`midway`) the rest of it."""
        self._provider, self._sound_format = provider, sound_format
        if midway:
            self._drop()
        else:
            self._begin()

    def from_agent(self, kind: str, message: Mapping[str, Any]) -> None:
        """An event of the agent's that is no audio."""
        if not self._tap.is_sampling:
            return
        if kind in _CUT_SHORT:
            self._drop()
        elif kind == "agent_response":
            event = message.get("agent_response_event")
            text = event.get("agent_response") if isinstance(event, dict) else None
            if isinstance(text, str) and sum(map(len, self._texts)) < MAX_CHARACTERS:
                self._texts.append(text[:MAX_CHARACTERS])

    def turn_ended(self, *, is_answered: bool, leg: Leg | None = None, turn: int = 0) -> None:
        """The `turn`th turn is over, in `leg`; `is_answered`: by an answer that was said to its end."""
        if self._tap.is_sampling:
            self._copy_audio_to(None)
        if is_answered:
            name = None if leg is None else AnswerName(leg.conversation_id, leg.number, turn, self._tap.began_at)
            self._tap.ends(" ".join(self._texts), answer=name)
        self._begin()

    def ends(self) -> None:
        """The conversation is over, or goes on elsewhere."""
        self._drop()

    def _begin(self) -> None:
        self._drop()
        self._tap.begins(self._provider, self._voice, self._sound_format)
        if self._tap.is_open:
            self._copy_audio_to(self._take)

    def _take(self, message: bytes) -> None:
        self._tap.frame(message)
        if not self._tap.is_open:  # it has enough
            self._copy_audio_to(None)

    def _drop(self) -> None:
        self._texts = []
        if self._tap.is_sampling:
            self._tap.drop()
            self._copy_audio_to(None)
