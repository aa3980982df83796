"""The account of a conversation's turns: when the user's words ended, when the answer was heard, what came of it.

The key decision: a turn is an exchange in which the user has said something, and it is judged when nothing more of it
can come: when the next one begins, when nobody waits for anything any more, or at the conversation's end. Nobody fails
by a barge-in: `failed` is what the watch would call overdue beyond doubt (`turns.py`), or what a failed provider left
unanswered. A leg that is replaced in the middle of a turn makes no turn of its own: the user has said one thing, and
got one answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from service.conversation.audible import Audibility
from service.conversation.exchange import Exchange
from service.metrics_conversations import TurnOutcome


@dataclass(frozen=True, kw_only=True)
class TurnEnd:
    """A turn that is over. `asked_at` is the end of the user's words, `audible_at` the first audible sound of the
    answer, `ended_at` its end; all in monotonic seconds. Not `is_timed`: the end of its sound is not known."""

    outcome: TurnOutcome
    asked_at: float
    ended_at: float
    audible_at: float | None = None
    is_timed: bool = True


def _ignore(_: object) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class TurnListener:
    """Who is told. `on_first_audio` gets the seconds that a user waited, `on_turn` each turn; `on_characters` how many
    of an answer's were sent to be spoken, were heard, and were spoken for nobody; `on_gaps` the gaps in its sound."""

    on_first_audio: Callable[[float], None] = _ignore
    on_turn: Callable[[TurnEnd], None] = _ignore
    on_gaps: Callable[[int], None] = _ignore
    on_characters: Callable[[int, int, int], None] = lambda *_: None


class TurnAccount:
    """One conversation's, told to `listener`; times are monotonic seconds."""

    def __init__(self, listener: TurnListener | None = None) -> None:
        self._tell = listener or TurnListener()

    # --- What happens in a turn

    def asked(self, exchange: Exchange, now: float) -> None:
        """The user has said something, or something more, and an answer is due."""
        exchange.asked_at = now

    def heard(self, exchange: Exchange, now: float, *, words_end_at: float) -> None:
        """The answer is heard for the first time; the user's words ended at `asked_at`, or at `words_end_at` where
        that is later."""
        if exchange.audible_at is not None:
            return
        exchange.audible_at = now
        if exchange.asked_at is not None:
            exchange.asked_at = min(now, max(exchange.asked_at, words_end_at))
            self._tell.on_first_audio(now - exchange.asked_at)

    # --- How it ends

    def over(self, exchange: Exchange, now: float) -> None:
        """Nobody waits for anything any more."""
        answer = exchange.answer
        if answer.is_interrupted and not exchange.is_cut:
            outcome = TurnOutcome.INTERRUPTED
        elif not answer.has_begun:
            outcome = TurnOutcome.EMPTY
        else:
            outcome = TurnOutcome.FAILED if is_broken(exchange) else TurnOutcome.ANSWERED
        self._end(exchange, outcome, now)

    def spoken_over(self, exchange: Exchange, now: float, *, is_over: bool) -> None:
        """The user says something else; `is_over`: the answer had come to its end. One that was interrupted before
        anybody heard it is none: the user went on with the question."""
        if exchange.answer.is_interrupted and not exchange.is_cut and exchange.audible_at is None:
            exchange.asked_at = None
        elif is_over or is_broken(exchange):
            self.over(exchange, now)
        else:
            self._end(exchange, TurnOutcome.INTERRUPTED, now)

    def left(self, exchange: Exchange, now: float, *, is_over: bool, is_failure: bool, is_awaited: bool) -> None:
        """The conversation ends: by the provider's failure (or the agent keeps the user waiting), or by somebody who
        leaves, while an answer `is_awaited` or before it `is_over`."""
        answer = exchange.answer
        if not is_failure and (is_awaited or (answer.has_begun and not is_over)):
            self._end(exchange, TurnOutcome.INTERRUPTED, now)
        elif is_failure and (is_awaited or not is_over):
            self._end(exchange, TurnOutcome.FAILED, now)
        else:
            self.over(exchange, now)

    def _end(self, exchange: Exchange, outcome: TurnOutcome, now: float) -> None:
        asked_at, exchange.asked_at = exchange.asked_at, None
        if asked_at is None:
            return  # the agent has spoken of itself, or this was told
        answer = exchange.answer
        ended_at = min(now, answer.ends_at) if answer.has_sound else min(now, max(asked_at, answer.text_at))
        self._tell.on_turn(
            TurnEnd(
                outcome=outcome,
                asked_at=asked_at,
                ended_at=max(asked_at, ended_at) if answer.has_begun else now,
                audible_at=exchange.audible_at,
                is_timed=answer.has_sound or answer.is_written,
            )
        )

    # --- What an answer was

    def told(self, exchange: Exchange, *, is_sound_told: bool) -> None:
        """Nothing of the answer comes any more, or not from the provider that spoke: tell what there was of it."""
        answer = exchange.answer
        gaps, answer.gaps = answer.gaps, 0
        if gaps:
            self._tell.on_gaps(gaps)
        if answer.is_written or not answer.has_text:
            return
        known = len(answer.full_text)
        heard = answer.spoken_characters if is_sound_told or answer.is_interrupted else known
        sent, exchange.told_characters = known - exchange.told_characters, known
        heard, exchange.told_heard = heard - exchange.told_heard, heard
        wasted = max(0, sent - heard) if answer.is_interrupted and not exchange.is_cut else 0
        if sent > 0 or heard > 0:
            self._tell.on_characters(max(0, sent), max(0, heard), wasted)


def is_broken(exchange: Exchange) -> bool:
    """Whether an answer that has begun is none beyond doubt: sound without a voice, or an end that never came."""
    if exchange.answer.is_interrupted and not exchange.is_cut:
        return False
    return exchange.audible.verdict is Audibility.SILENT or exchange.is_cut_short
