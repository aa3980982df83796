"""What a turn is counted as: by what was said, in each order in which an agent may say it."""

from __future__ import annotations

import pytest

from service.conversation.turn_account import TurnEnd, TurnListener
from service.conversation.turns import TurnTracker
from service.fallback.takeover import Takeover
from tests.unit.turns.talks import (
    METADATA,
    Told,
    audio,
    correction,
    interruption,
    response,
    spoken,
    tool,
    transcript,
    voice,
)

ANSWER = "You may return it within thirty days, in the box that it came in."


class Counted(Told):
    """A tracker that is told a conversation, and what it tells of its turns."""

    def __init__(self) -> None:
        super().__init__(is_open=False)
        self.turns: list[TurnEnd] = []
        self.waits: list[float] = []
        self.gaps: list[int] = []
        self.characters: list[tuple[int, int, int]] = []
        self.tracker = TurnTracker(
            clock=self.clock,
            listener=TurnListener(
                on_first_audio=self.waits.append,
                on_turn=self.turns.append,
                on_gaps=self.gaps.append,
                on_characters=lambda *counts: self.characters.append(counts),
            ),
        )
        self.agent(METADATA)

    @property
    def outcomes(self) -> list[str]:
        return [turn.outcome.value for turn in self.turns]

    def rest(self) -> None:
        """Let the answer be played; the watch sees that nobody waits any more."""
        self.play_out()
        if self.is_idle:
            self.tracker.turn_is_over()

    def end(self, *, is_failure: bool = False, goes_on: bool = False) -> list[str]:
        self.tracker.end(is_failure=is_failure, goes_on=goes_on)
        return self.outcomes


@pytest.fixture
def talk() -> Counted:
    counted = Counted()
    counted.agent(response(1, "Hello, this is the shop."), *spoken(1, "Hello, this is the shop."))
    counted.rest()
    return counted


def test_a_greeting_is_no_turn_and_its_characters_are_heard(talk: Counted) -> None:
    assert talk.end() == []
    assert talk.waits == []
    assert talk.characters == [(24, 24, 0)]


def test_an_answered_turn_is_told_when_it_is_over_and_not_twice(talk: Counted) -> None:
    talk.types("May I return it?")
    asked_at = talk.clock.now
    talk.clock.tick(0.4)
    talk.agent(response(2, ANSWER), *spoken(2, ANSWER))
    assert talk.waits == [pytest.approx(0.4)]
    assert talk.turns == [], "it is being played"
    talk.rest()
    assert talk.outcomes == ["answered"]
    (turn,) = talk.turns
    assert (turn.asked_at, turn.audible_at) == (asked_at, pytest.approx(asked_at + 0.4))
    assert turn.ended_at - asked_at == pytest.approx(0.4 + len(ANSWER) * 0.06)
    talk.types("And when?")
    assert talk.end(goes_on=True) == ["answered"]


def test_silence_before_the_voice_is_waited_for(talk: Counted) -> None:
    talk.types("May I return it?")
    talk.clock.tick(0.2)
    talk.agent(response(2, ANSWER), audio(2, voice(0.5, loudness=0)))
    assert talk.waits == []
    talk.clock.tick(0.5)
    talk.agent(*spoken(2, ANSWER))
    assert talk.waits == [pytest.approx(0.7)]


@pytest.mark.parametrize("is_transcript_first", [True, False])
def test_a_barge_in_is_never_a_failure(talk: Counted, is_transcript_first: bool) -> None:
    talk.agent(transcript(2, "May I return it?"))
    talk.agent(response(2, ANSWER), *spoken(2, ANSWER)[:5])
    talk.clock.tick(0.6)
    words, break_in = transcript(3, "No, wait."), interruption(2)
    talk.agent(*([words, break_in] if is_transcript_first else [break_in, words]))
    talk.agent(correction(2, ANSWER, "You may"))
    assert talk.outcomes == ["interrupted"]
    talk.agent(response(3, ANSWER), *spoken(3, ANSWER))
    talk.rest()
    assert talk.end(is_failure=True) == ["interrupted", "answered"]
    assert talk.characters[1:] == [
        (len(ANSWER), len("You may"), len(ANSWER) - len("You may")),
        (len(ANSWER),) * 2 + (0,),
    ]


def test_a_user_who_goes_on_before_anything_was_heard_has_asked_one_thing(talk: Counted) -> None:
    talk.agent(transcript(2, "May I"), response(2, ANSWER), interruption(2), transcript(3, "return it?"))
    talk.agent(response(3, ANSWER), *spoken(3, ANSWER))
    talk.rest()
    assert talk.end() == ["answered"]
    assert len(talk.waits) == 1


def test_who_types_into_a_long_answer_interrupts_it(talk: Counted) -> None:
    talk.types("May I return it?")
    talk.agent(response(2, ANSWER), *spoken(2, ANSWER))
    talk.clock.tick(0.3)
    talk.types("Never mind.")
    assert talk.outcomes == ["interrupted"]


def test_a_tool_alone_is_an_empty_turn(talk: Counted) -> None:
    talk.types("Goodbye.")
    talk.agent(
        tool("agent_tool_request", "1", tool_type="system"), tool("agent_tool_response", "1", tool_type="system")
    )
    talk.rest()
    assert talk.end() == ["empty"]


def test_an_answer_behind_a_tool_is_waited_for_from_the_words_on(talk: Counted) -> None:
    talk.types("Where is it?")
    talk.clock.tick(0.2)
    talk.agent(tool("client_tool_call", "1"))
    talk.clock.tick(2.0)
    talk.tracker.from_client({"type": "client_tool_result", "tool_call_id": "1"})
    talk.agent(response(2, ANSWER), *spoken(2, ANSWER))
    talk.rest()
    assert (talk.end(), talk.waits) == (["answered"], [pytest.approx(2.2)])


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_text_is_no_turn(talk: Counted, text: str) -> None:
    talk.types(text)
    assert talk.end(is_failure=True) == []


def test_a_conversation_that_ends_by_its_agents_failure_fails_the_turn_that_waits(talk: Counted) -> None:
    talk.types("May I return it?")
    assert talk.end(is_failure=True) == ["failed"]


def test_a_failure_in_the_middle_of_an_answer_fails_it(talk: Counted) -> None:
    talk.types("May I return it?")
    talk.agent(response(2, ANSWER), *spoken(2, ANSWER)[:5])
    assert talk.end(is_failure=True) == ["failed"]


def test_a_failure_behind_an_answer_fails_nothing(talk: Counted) -> None:
    talk.types("May I return it?")
    talk.agent(response(2, ANSWER), *spoken(2, ANSWER))
    talk.play_out()
    assert talk.end(is_failure=True) == ["answered"]


@pytest.mark.parametrize(("seconds", "outcome"), [(1.0, "interrupted"), (8.0, "failed")])
def test_who_leaves_without_an_answer_was_kept_waiting_or_did_not_wait(
    talk: Counted, seconds: float, outcome: str
) -> None:
    talk.types("May I return it?")
    talk.clock.tick(seconds)
    assert talk.end() == [outcome]


def test_what_goes_on_at_another_worker_is_counted_there(talk: Counted) -> None:
    talk.types("May I return it?")
    assert talk.end(goes_on=True) == []


def test_a_splice_is_one_turn_that_is_heard_once(talk: Counted) -> None:
    talk.types("May I return it?")
    talk.agent(response(2, ANSWER), *spoken(2, ANSWER)[:5])
    go_on(talk)
    rest = talk.tracker.takeover(talk.clock.now).rest or ""
    talk.agent(response(1, ANSWER), *spoken(1, rest))
    talk.rest()
    assert talk.end() == ["answered"]
    assert len(talk.waits) == 1


def test_a_question_that_is_asked_once_more_is_one_turn(talk: Counted) -> None:
    talk.types("May I return it?")
    asked_at = talk.clock.now
    talk.clock.tick(2.0)
    go_on(talk)
    talk.clock.tick(0.5)
    talk.agent(response(1, ANSWER), *spoken(1, ANSWER))
    talk.rest()
    assert talk.end() == ["answered"]
    assert (talk.turns[0].asked_at, talk.waits) == (asked_at, [pytest.approx(2.5)])


def test_what_another_worker_had_not_answered_is_asked_here(talk: Counted) -> None:
    fresh = Counted()
    fresh.tracker.begin_leg(takeover(question="May I return it?"))
    fresh.clock.tick(0.3)
    fresh.agent(response(1, ANSWER), *spoken(1, ANSWER))
    fresh.rest()
    assert (fresh.end(), fresh.waits) == (["answered"], [pytest.approx(0.3)])


def test_a_gap_in_an_answer_is_an_underrun_and_a_pause_behind_it_is_none(talk: Counted) -> None:
    talk.types("May I return it?")
    sound = spoken(2, ANSWER)
    talk.agent(response(2, ANSWER), *sound[:5])
    talk.clock.tick(5 * 4 * 0.06 + 0.4)
    talk.agent(*sound[5:])
    talk.play_out()
    talk.agent(response(2, "Anything else?"), *spoken(2, "Anything else?"))
    talk.rest()
    talk.end()
    assert talk.gaps == [1]


def test_where_sound_is_not_told_its_begin_is(talk: Counted) -> None:
    quiet, loud = audio(2, voice(0.2, loudness=0)), audio(2, voice(0.2))
    counted = Counted()
    counted.types("May I return it?")
    counted.clock.tick(0.3)
    assert not counted.tracker.sound_begins(quiet, 0, len(quiet), 2)
    counted.agent(response(2, ANSWER))
    assert counted.tracker.sound_begins(loud, 0, len(loud), 2)
    assert counted.waits == [pytest.approx(0.3)]
    counted.clock.tick(20.0)
    assert counted.end() == ["answered"]
    assert not counted.turns[0].is_timed


def go_on(talk: Counted) -> None:
    """The leg has failed, and the next one goes on as the conversation does."""
    left = talk.tracker.takeover(talk.clock.now)
    talk.tracker.begin_leg(
        takeover(
            question=left.question,
            rest=left.rest,
            full_text=left.full_text,
            announce=not left.announced,
            history=left.history,
        )
    )
    talk.agent(METADATA)


def takeover(**fields: object) -> Takeover:
    made = {
        "agent_id": "agent_one",
        "conversation_id": "conv_1",
        "language": None,
        "output_format": "pcm_16000",
        "input_format": "pcm_16000",
        "text_only": False,
        "greets": False,
        **fields,
    }
    return Takeover(**made)  # type: ignore[arg-type]
