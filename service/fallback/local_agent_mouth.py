"""The local agent's mouth: what it says, from the text to the last sound that the user hears.

The key decision: at most one answer is out at a time, and a newer one replaces it. All methods but the voice's own
work run on the agent's thread; the voice runs on a worker and reports through the agent's mailbox.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import structlog

from service.fallback import local_agent_events as events
from service.fallback.local_agent_events import Event
from service.fallback.local_agent_profile import AgentProfile
from service.fallback.local_agent_speech import Answer, Pace, SpokenAnswer, WrittenAnswer
from service.fallback.local_agent_threads import Action, Worker
from service.fallback.local_voice import Voice
from service.fallback.takeover import Splice
from service.fallback.talk_history import TalkHistory

log = structlog.get_logger(__name__)


class Mouth:
    """Says one answer after the other. `emit` sends an event, `post` runs an action on the agent's thread.

    `on_said` is called when an answer has been heard to its end, `on_failed` when the voice broke. What the user got to
    hear or read is noted in `history`.
    """

    def __init__(
        self,
        voice: Voice,
        *,
        worker: Worker,
        pace: Pace,
        emit: Callable[[Event], None],
        post: Callable[[Action], bool],
        on_said: Callable[[Answer], None],
        on_failed: Action,
        history: TalkHistory,
    ) -> None:
        self._voice = voice
        self._worker = worker
        self._pace = pace
        self._emit = emit
        self._post = post
        self._on_said = on_said
        self._on_failed = on_failed
        self._answer: Answer | None = None
        self._history = history

    @property
    def is_busy(self) -> bool:
        """Whether an answer is being said, or still being played by the client."""
        return self._answer is not None

    @property
    def next_at(self) -> float | None:
        """When `advance` has something to do again; None while there is nothing but to wait for the voice."""
        return self._answer.next_at() if self._answer else None

    def say(self, event_id: int, text: str, profile: AgentProfile, *, splice: Splice | None = None) -> None:
        """Say `text` instead of whatever is being said, which is interrupted; of a `splice` its rest."""
        self.interrupt()
        now = time.monotonic()
        if profile.text_only:
            self._answer = WrittenAnswer(event_id, text, pace=self._pace, now=now, splice=splice)
            return
        answer = SpokenAnswer(
            event_id, text, output_format=profile.output_format, pace=self._pace, now=now, splice=splice
        )
        self._answer = answer
        self._worker.submit(partial(self._speak, answer, profile))

    def advance(self) -> None:
        """Send what is due now."""
        answer = self._answer
        if answer is None:
            return
        for event in answer.due(time.monotonic()):
            self._emit(event)
        if answer.is_over(time.monotonic()):
            self._answer = None
            self._history.note("agent", answer.text)
            self._on_said(answer)

    def drop(self) -> None:
        """Let nothing more come of what is being said; no event is sent."""
        answer, self._answer = self._answer, None
        if isinstance(answer, SpokenAnswer):
            answer.cancel()

    def interrupt(self) -> None:
        """The user takes the turn: stop speaking, and tell the client how far it was heard.

        A written answer is finished instead: its reader loses nothing.
        """
        answer = self._answer
        self.drop()
        if isinstance(answer, WrittenAnswer):
            for event in answer.rest():
                self._emit(event)
            self._history.note("agent", answer.text)
        elif answer is not None and answer.has_begun:
            heard = answer.heard_text(time.monotonic())
            self._history.note("agent", heard)
            self._emit(events.interruption(answer.event_id))
            if heard != answer.text:
                self._emit(events.agent_response_correction(answer.event_id, answer.text, heard))

    def _speak(self, answer: SpokenAnswer, profile: AgentProfile) -> None:
        """Turn an answer into sound, on the worker, a few sentences ahead of what was sent."""
        try:
            pieces = self._voice.speak(
                answer.to_speak, language=profile.language, speed=profile.speed, variant=profile.voice_variant
            )
            for piece in pieces:
                if not answer.wait_for_room() or not self._post(partial(answer.add, piece, answer.encoded(piece))):
                    return
        except Exception:  # a worker: whatever the voice's failure is, the client is told that there is none
            log.exception("the voice failed", agent_id=profile.agent_id)
            self._post(self._on_failed)
            return
        self._post(answer.complete)
