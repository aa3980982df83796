"""Whether an agent keeps the others waiting, and what another one needs to go on in its place.

The key decision: a false alarm costs more than a late one. An agent is overdue only when it is beyond doubt that it
owes something: words of the user's that it has taken in and not answered, or an answer whose text is known and of which
a part never came. A barge-in, an empty message, tools, a user who goes on speaking, an agent that deliberately says
nothing are never its fault; where ElevenLabs' events leave it open which of these it is, nobody is overdue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from service.conversation.audible import Audibility
from service.conversation.course import Course
from service.conversation.spoken import WRITING_SECONDS
from service.conversation.spoken_text import has_words
from service.fallback.takeover import Takeover
from service.fallback.talk_history import PastTurn

GREETING_SECONDS = 2.0
"""So long behind the begin of a conversation its greeting may come."""

SPEAKING_SECONDS = 3.0
"""So long behind the last sign of the user's voice the user is taken to speak still."""

LATE_SECONDS = 5.0
"""Who leaves so long behind a question has got no answer to it; before, the user may just have gone."""

_VOICE_SECONDS = 1.0


class Overdue(StrEnum):
    """What an agent fails to do."""

    FIRST_AUDIO_LATE = "first_audio_late"
    SILENT = "silent"
    ANSWER_STALLED = "answer_stalled"
    TRUNCATED = "truncated"


@dataclass(frozen=True, kw_only=True)
class TalkSoFar:
    """Where a conversation stands, for who goes on with it; the words mean the same as in `Takeover`.

    `question` is what the user said last and got no answer to; `rest` is what a broken answer lacks of `full_text`, of
    which `said` was sent already; `announced`: the client was told that text.
    """

    history: tuple[PastTurn, ...]
    question: str | None = None
    rest: str | None = None
    full_text: str | None = None
    said: str = ""
    announced: bool = False
    unplayed_seconds: float = 0.0
    tool_call_id: str | None = None

    @property
    def turns(self) -> tuple[PastTurn, ...]:
        """All that was said, the open question too, for somebody who reads it."""
        return self.history if self.question is None else (*self.history, PastTurn("user", self.question))


class TurnTracker(Course):
    """Judges the course of one conversation."""

    @property
    def is_heard(self) -> bool:
        """Whether the agent was heard at all: it speaks, and does not only write."""
        return self._is_heard

    def expect_voice(self) -> None:
        """The agent is known to speak, from other conversations: a text without a sound is not all that it has."""
        self._has_voice = True
        self._expect_sound()

    def due(self, now: float, first_audio_seconds: float, stall_seconds: float | None = None) -> Overdue | None:
        """What the agent fails to do by now: `first_audio_seconds` are what its first sound may take, `stall_seconds`
        (the same if not given) what a gap in its answer may."""
        if self._is_with_people:
            return None
        exchange = self._exchange
        if exchange.audible.verdict is Audibility.SILENT and not exchange.answer.is_interrupted:
            return Overdue.SILENT
        if self._was_cut_short:
            return Overdue.TRUNCATED
        since = self.awaiting_since
        if since is not None:
            if now - since <= first_audio_seconds:
                return None
            return Overdue.SILENT if exchange.answer.has_sound else Overdue.FIRST_AUDIO_LATE
        if stall_seconds is None or not exchange.answer.has_sound:
            stall_seconds = first_audio_seconds
        return self._stall(now, stall_seconds)

    def _stall(self, now: float, patience: float) -> Overdue | None:
        answer = self._exchange.answer
        is_heard = now - self._voice_at < (SPEAKING_SECONDS if self._user_speaks else _VOICE_SECONDS)
        if self._opened_at is None or answer.is_interrupted or not answer.has_begun or is_heard:
            return None
        quiet_seconds = now - max(answer.ends_at, answer.text_at)
        if answer.is_written:
            is_stalled = quiet_seconds > max(patience, WRITING_SECONDS)
            is_whole = answer.is_announced or answer.is_declared_complete
            return Overdue.ANSWER_STALLED if is_stalled and not is_whole else None
        if quiet_seconds <= patience or not answer.misses_words:
            return None
        return Overdue.TRUNCATED if answer.is_declared_complete else Overdue.ANSWER_STALLED

    def is_idle(self, now: float) -> bool:
        """Whether nobody waits for anything: the answer is complete and played, the user silent, no tool at work."""
        if self._opened_at is None or self._awaiting_since is not None:
            return False
        if self._may_greet and now - self._opened_at < GREETING_SECONDS and not self._exchange.answer.has_begun:
            return False
        if (self._tools.is_pending or self._exchange.owes_words) and self._tools.was_used_lately(now):
            return False
        if self._user_speaks and now - self._voice_at < SPEAKING_SECONDS:
            return False
        return self._is_over(self._exchange.answer, now)

    def take_answer_seconds(self) -> float | None:
        """How long the last answer's first sound took (its text where there is no sound); each is given once."""
        seconds, self._answer_seconds = self._answer_seconds, None
        return seconds

    def takeover(self, now: float, *, splice: bool = True) -> TalkSoFar:
        """What another leg needs to go on. Without `splice` a broken answer is cut to what was said of it, and the
        question counts as answered unless nothing was."""
        if self._is_unheard(now):
            self._exchange.answer.is_written = False
        self._settle(now)
        exchange, answer = self._exchange, self._exchange.answer
        before = [] if self._previous is None else self._previous.turns
        question = exchange.question or None
        unplayed = max(0.0, self._sounding.answer.ends_at - now)
        is_broken = answer.has_begun and not answer.is_interrupted and not self._is_over(answer, now)
        rest = answer.rest() if is_broken and splice else ""
        if has_words(rest):
            asked = [] if question is None else [PastTurn("user", question)]
            return TalkSoFar(
                history=self._past.with_latest([*before, *asked]),
                rest=rest,
                full_text=answer.full_text,
                said=answer.said,
                announced=answer.is_announced,
                unplayed_seconds=unplayed,
                tool_call_id=self._tools.call_id,
            )
        said = answer.said.strip()
        is_open = not said or exchange.owes_words or (is_broken and not answer.has_text)
        latest = exchange.turns
        if question is not None and is_open:
            latest = [PastTurn("agent", said)] if said else []
        return TalkSoFar(
            history=self._past.with_latest([*before, *latest]),
            question=question if is_open else None,
            said=said,
            unplayed_seconds=unplayed,
            tool_call_id=self._tools.call_id,
        )

    def _is_unheard(self, now: float) -> bool:
        """Whether the agent's first text may have been one whose sound was still to come."""
        answer = self._exchange.answer
        may_sound = not self._text_only and not self._has_voice and not answer.has_sound
        return may_sound and answer.is_announced and now - answer.text_at < GREETING_SECONDS

    # --- Turns

    def turn_is_over(self) -> None:
        """Nobody waits for anything (`is_idle`): whatever was asked has come to its end."""
        self._account.over(self._exchange, self._clock())

    def end(self, *, is_failure: bool, goes_on: bool) -> None:
        """The conversation ends here; `is_failure`: because its agent cannot go on. An agent that has kept the user
        waiting for `LATE_SECONDS` fails, too, whoever ends it. If it `goes_on` elsewhere, a question without an answer
        is asked and counted there."""
        now = self._clock()
        exchange, answer = self._exchange, self._exchange.answer
        if self._opened_at is None or (goes_on and not answer.has_begun):
            exchange.asked_at = None
        self._account.left(
            exchange,
            now,
            is_over=answer.has_begun and (answer.is_complete or self._is_over(answer, now)),
            is_failure=is_failure or self._keeps_waiting(now),
            is_awaited=self._awaiting_since is not None,
        )
        for each in (self._previous, exchange):
            if each is not None:
                self._account.told(each, is_sound_told=self._is_heard)

    def _keeps_waiting(self, now: float) -> bool:
        if self._is_heard or self._exchange.audible.verdict is Audibility.SILENT:
            return self.due(now, LATE_SECONDS) is not None
        since = self.awaiting_since  # of an answer whose sound is not told, nobody knows how far it has come
        return since is not None and now - since > LATE_SECONDS

    # --- Legs

    def restore(self, history: Iterable[PastTurn]) -> None:
        """Go on with a conversation that another worker has led until now."""
        self._past.add(history)

    def begin_leg(self, takeover: Takeover) -> set[str]:
        """Another leg speaks from now on, as `takeover` says. Returns the ids of the tool calls that died with the
        leg before."""
        now = self._clock()
        for each in (self._previous, self._exchange):
            if each is not None:
                self._account.told(each, is_sound_told=self._is_heard)
        stale = set() if self._tools.call_id is None else {self._tools.call_id}
        self._reset_leg()
        self._pace.forget()
        self._opened_at = now
        self._may_greet = takeover.greets
        exchange = self._exchange
        splice = takeover.splice
        goes_on = splice is not None and not exchange.answer.is_interrupted
        if splice is None or not goes_on or exchange.answer.full_text != splice.full_text:
            self._leave_exchange(takeover.question, now)
        if splice is not None:
            self._exchange.answer.go_on(now, said=splice.spoken, rest=splice.rest, announced=not splice.announce)
            self._exchange.listen_anew(self._format)
        elif takeover.question is not None:
            self._exchange.parts = [takeover.question]
            if self._exchange.asked_at is None:
                self._account.asked(self._exchange, now)
            self._awaiting_since = now
        self._sounding = self._exchange
        self._forget_ids()
        return stale

    def _leave_exchange(self, question: str | None, now: float) -> None:
        """Whatever answer was under way ends where it is; `question` is asked once more."""
        exchange = self._exchange
        exchange.owes_words = False
        if not exchange.answer.has_begun:
            return
        if not self._is_over(exchange.answer, now):
            exchange.answer.cut()
            exchange.is_cut = True
        if question is None:
            self._open_exchange(now)
            return
        exchange.parts = []
        asked_at, exchange.asked_at = exchange.asked_at, None  # one turn, although it is asked once more
        self._open_exchange(now)
        self._exchange.asked_at, self._exchange.audible_at = asked_at, exchange.audible_at
