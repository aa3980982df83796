"""One exchange of a conversation: what the user said, and the answer to it; and the exchanges before it, as words.

The key decision: an exchange keeps its answer as it came until the one after the next begins, because corrections of
what was heard come late; then only words are left of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from service.conversation.audible import Audibility, AudibleCheck
from service.conversation.sound_format import SoundFormat
from service.conversation.spoken import AnswerOnItsWay
from service.fallback.talk_history import PastTurn

KEPT_TURNS = 50
KEPT_CHARACTERS = 20_000
MAX_QUESTION_CHARACTERS = 4_000
MAX_PARTS = 16

LATE_TRANSCRIPT_SECONDS = 3.0
"""So long behind the begin of an answer a transcript may be that of the question that it answers."""


class Exchange:
    """What the user said (`question`, several parts), and `answer`, which began at `begun_at` (monotonic seconds).

    What it is as a turn is kept by `TurnAccount`: `asked_at` (None: not asked, or its turn is over), `audible_at`, and
    how many characters of the answer were told of.
    """

    __slots__ = (
        "answer", "asked_at", "audible", "audible_at", "begun_at", "is_cut", "is_cut_short", "is_listened_to",
        "owes_words", "parts", "question_id", "told_characters", "told_heard",
    )  # fmt: skip

    def __init__(self, answer: AnswerOnItsWay, sound_format: SoundFormat) -> None:
        self.answer = answer
        self.parts: list[str] = []
        self.question_id: int | None = None
        self.begun_at: float | None = None
        self.owes_words = False
        """Whether the agent has asked a tool, and said nothing yet of what that gave."""
        self.is_cut = False
        """Whether its answer ended because its leg did, and not by the user."""
        self.is_cut_short = False
        """Whether its answer was seen to have stopped before its end."""
        self.asked_at: float | None = None
        self.audible_at: float | None = None
        self.told_characters = self.told_heard = 0
        self.listen_anew(sound_format)

    def listen_anew(self, sound_format: SoundFormat) -> None:
        """Nothing of the answer's sound was heard until now."""
        self.audible = AudibleCheck(sound_format)
        self.is_listened_to = True
        self.answer.is_audible = False

    def is_late_transcript(self, event_id: int | None, now: float) -> bool:
        """Whether words that come now are those that the answer under way is to."""
        if self.begun_at is None or self.parts or self.answer.is_interrupted:
            return False
        if event_id is not None and self.answer.event_id is not None and event_id > self.answer.event_id:
            return False
        return now - self.begun_at < LATE_TRANSCRIPT_SECONDS

    def note_begun(self, now: float) -> None:
        """Something of the answer has come."""
        if self.begun_at is None:
            self.begun_at = now

    def listen(self, data: bytes | bytearray, begin: int, end: int) -> bool:
        """Take the first messages of sound; whether a voice was heard in this one for the first time."""
        verdict = self.audible.listen(data, begin, end)
        if verdict is not Audibility.AUDIBLE:
            return False
        self.is_listened_to = False
        self.answer.is_audible = True
        return True

    def add_words(self, text: str) -> None:
        """The user has said something more."""
        self.parts.append(text.strip()[:MAX_QUESTION_CHARACTERS])
        del self.parts[:-MAX_PARTS]

    @property
    def question(self) -> str:
        """What the user said, all parts."""
        return " ".join(self.parts)[-MAX_QUESTION_CHARACTERS:]

    @property
    def turns(self) -> list[PastTurn]:
        """What was said on both sides, as far as the other one got it."""
        said = (PastTurn("user", self.question), PastTurn("agent", self.answer.said.strip()))
        return [turn for turn in said if turn.text]


class PastTalk:
    """The latest turns: fifty, and twenty thousand characters at most."""

    def __init__(self) -> None:
        self._turns: tuple[PastTurn, ...] = ()

    def add(self, turns: Iterable[PastTurn]) -> None:
        """Add turns, oldest first."""
        self._turns = self.with_latest(turns)

    def with_latest(self, turns: Iterable[PastTurn]) -> tuple[PastTurn, ...]:
        """All turns, `turns` being the latest, as many as are kept."""
        left = KEPT_CHARACTERS
        kept: list[PastTurn] = []
        for turn in reversed([*self._turns, *turns]):
            left -= len(turn.text)
            if left < 0 or len(kept) == KEPT_TURNS:
                break
            kept.append(turn)
        return tuple(reversed(kept))


def exchange_of_correction(
    exchanges: Iterable[Exchange | None], original: object, event_id: int | None
) -> Exchange | None:
    """The exchange whose answer a correction is of, of the latest ones, newest first: by its text, else by its id."""
    known = [exchange for exchange in exchanges if exchange is not None and exchange.answer.has_begun]
    for exchange in known:
        if isinstance(original, str) and exchange.answer.full_text.strip() == original.strip():
            return exchange
    for exchange in known:
        if event_id is not None and exchange.answer.event_id == event_id:
            return exchange
    return next((exchange for exchange in known if exchange.answer.is_interrupted), None)


def is_interruption_of_previous(event_id: int | None, previous: Exchange, current: Exchange, *, expected: bool) -> bool:
    """Whether an interruption is not of the answer that is to come or comes, but of the one before, of which one is
    `expected`."""
    is_its_id = event_id is not None and event_id == previous.answer.event_id
    if current.answer.has_begun:
        return is_its_id and event_id != current.answer.event_id
    # The way takes its time: for the agent the old answer may still play when it has ended for the client.
    is_typed = bool(current.parts) and current.question_id is None
    return expected or (is_typed and is_its_id)
