"""What the metrics and the traces are told of one conversation: by it, its legs and its turns.

The key decision: one object stands between a conversation and whoever measures it. The conversation says what has
happened, once and without words; which numbers and spans that makes is decided here. It is told by the turn, the leg
and the conversation, never by the frame, and nothing in it waits.

It begins with the client's upgrade, before anybody knows whether a conversation will come of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from service import metrics_conversations as metrics
from service.audio_quality.answer_sampling import AnswerSampling, TakeCopy
from service.audio_quality.tap import AnswerTap
from service.conversation.endings import ending_of_client_side
from service.conversation.recording import Recording
from service.conversation.turn_account import TurnEnd, TurnListener
from service.elevenlabs.vocabulary import PROVIDER
from service.metrics_conversations import FAILURES, FIRST, EndReason, SetupOutcome, TurnOutcome
from service.metrics_elevenlabs import characters_heard, characters_sent, characters_wasted
from service.metrics_fallback import WISHED, FailoverCause
from service.storage.conversation_records import Leg
from service.traces import ConversationSpan, LegSpan, Traces, TurnSpan

_OF_THE_CALLER = frozenset({EndReason.NORMAL, EndReason.LEFT, EndReason.IDLE, EndReason.LIMIT})
_ENDED, _HANDED_OVER, _FAILED = "ended", "handed_over", "failed"  # what the outcomes of spans are called


class Observation:
    """One conversation's; `traces` gets its spans, `tap` some of its answers to judge. `is_resumed`: another worker
    has led it until now, so that its set-up was told there."""

    def __init__(self, *, traces: Traces | None = None, tap: AnswerTap | None = None, is_resumed: bool = False) -> None:
        self._traces = traces
        self._tap = tap
        self._sampling: AnswerSampling | None = None
        self._begun = time.monotonic()
        self._tells_setup = not is_resumed
        self._has_ended = False
        self._recording: Recording | None = None
        self._provider = ""
        self._leg_cause: str = FIRST
        self._turns = 0
        self.listener = TurnListener(
            on_first_audio=self._first_audio_came,
            on_turn=self._turn_ended,
            on_gaps=lambda gaps: metrics.audio_ran_dry(self._provider, gaps),
            on_characters=self._characters_went,
        )

    def follow(self, recording: Recording, *, copy_audio_to: Callable[[TakeCopy | None], None]) -> None:
        """A conversation has come of it, which `recording` knows by its name; its audio may be copied."""
        self._recording = recording
        if self._tap is not None:
            self._sampling = AnswerSampling(self._tap, voice=recording.agent_id, copy_audio_to=copy_audio_to)

    # --- Its course

    def opened(self, sound_format: str) -> None:
        """The client is sent the agent's metadata, which names the format of its sound."""
        if self._sampling is not None:
            self._sampling.leg_begins(self._provider, sound_format)
        if self._tells_setup:
            self._tells_setup = False
            metrics.conversation_opened(time.monotonic() - self._begun)

    def leg_begins(self, provider: str) -> None:
        """`provider` speaks first."""
        self._provider = provider
        metrics.first_leg_began(provider)

    def leg_changes(self, before: str, now: str, cause: FailoverCause, *, spliced: bool, sound_format: str) -> None:
        """`now` speaks in the place of `before`; `spliced`: in the middle of an answer. Told before the record is."""
        self._end_leg(_ENDED if cause in WISHED else _FAILED)
        self._leg_cause = cause.value
        self._provider = now
        metrics.next_leg_began(now, cause)
        if self._sampling is not None:
            self._sampling.leg_begins(now, sound_format, midway=spliced)
        if spliced and before not in {"", now}:
            metrics.utterance_was_spliced(before, now)

    def from_agent(self, kind: str, message: Mapping[str, Any]) -> None:
        """An event of the agent's that is no audio."""
        if self._sampling is not None:
            self._sampling.from_agent(kind, message)

    def ended(self, by: str, reason: EndReason, *, goes_on: bool = False) -> None:
        """It is over here; `goes_on`: at another worker, perhaps. Once."""
        if self._has_ended:
            return
        self._has_ended = True
        if self._sampling is not None:
            self._sampling.ends()
        if self._tells_setup:
            is_callers = reason is EndReason.REFUSED or (by == metrics.EndedBy.CLIENT and reason in _OF_THE_CALLER)
            metrics.conversation_did_not_open(SetupOutcome.CALLER if is_callers else SetupOutcome.FAILURE)
        recording = self._recording
        leg = None if recording is None else recording.leg
        if recording is None or leg is None or goes_on:
            metrics.conversation_ended(by, reason, seconds=None)
            self._end_leg(_HANDED_OVER)
            return
        seconds = (datetime.now(UTC) - recording.started_at).total_seconds()
        metrics.conversation_ended(by, reason, seconds=max(0.0, seconds))
        outcome = _FAILED if reason in FAILURES else _ENDED
        self._end_leg(outcome)
        if self._traces is not None:
            self._traces.record(
                ConversationSpan(
                    conversation_id=leg.conversation_id,
                    started_at=recording.started_at.timestamp(),
                    ended_at=time.time(),
                    outcome=outcome,
                    agent_id=recording.agent_id,
                    by=by,
                    reason=reason.value,
                )
            )

    def refused(self, exc: Exception) -> None:
        """No conversation has come of it, because of `exc`; nothing is told of one that has ended, or of a client
        that wanted to come back (`vocero_resumes` counts those)."""
        if self._tells_setup and not self._has_ended:
            ending = ending_of_client_side(exc)
            self.ended(ending.by, ending.category)

    def failed(self) -> None:
        """No conversation has come of it, by a fault of ours."""
        if self._tells_setup:
            self.ended("service", EndReason.INTERNAL)

    # --- What its turns tell

    def _first_audio_came(self, seconds: float) -> None:
        metrics.first_audio_came(self._provider, seconds)

    def _turn_ended(self, turn: TurnEnd) -> None:
        self._turns += 1
        if self._sampling is not None:
            is_answered = turn.outcome is TurnOutcome.ANSWERED
            self._sampling.turn_ended(is_answered=is_answered, leg=self._leg, turn=self._turns)
        is_timed = turn.is_timed and turn.outcome is TurnOutcome.ANSWERED
        metrics.turn_ended(self._provider, turn.outcome, seconds=turn.ended_at - turn.asked_at if is_timed else None)
        leg = self._leg
        if self._traces is None or leg is None:
            return
        wall = time.time() - time.monotonic()
        self._traces.record(
            TurnSpan(
                conversation_id=leg.conversation_id,
                started_at=wall + turn.asked_at,
                ended_at=wall + turn.ended_at,
                outcome=turn.outcome.value,
                number=self._turns,
                leg=leg.number,
                provider=self._provider,
                first_audio_seconds=None if turn.audible_at is None else max(0.0, turn.audible_at - turn.asked_at),
            )
        )

    def _characters_went(self, sent: int, heard: int, wasted: int) -> None:
        if self._provider == PROVIDER:
            characters_sent(sent)
            characters_heard(heard)
            characters_wasted(wasted)

    # --- Legs

    @property
    def _leg(self) -> Leg | None:
        return None if self._recording is None else self._recording.leg

    def _end_leg(self, outcome: str) -> None:
        leg = self._leg
        if self._traces is None or leg is None or not self._provider:
            return
        self._traces.record(
            LegSpan(
                conversation_id=leg.conversation_id,
                started_at=leg.started_at.timestamp(),
                ended_at=time.time(),
                outcome=outcome,
                number=leg.number,
                provider=leg.provider,
                cause=self._leg_cause,
            )
        )
