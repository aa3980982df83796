"""A thousand things that a healthy agent and its user do, in every order: nobody is ever called late.

And the same with an agent that dies at some moment: it is found, and no word is lost or said twice.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from service.conversation.spoken_text import weight_of
from service.conversation.turns import Overdue
from service.fallback.takeover import Takeover
from tests.unit.turns.talks import (
    PATIENCE,
    Event,
    Told,
    aligned,
    audio,
    correction,
    interruption,
    response,
    tentative,
    tool,
    transcript,
    voice,
)

WORDS = (
    "we",
    "are",
    "open",
    "from",
    "9:30",
    "to",
    "five,",
    "every",
    "day",
    "except",
    "Sunday.",
    "Really?",
    "[laughs]",
    "año",
)
TICK = 0.1
STEP = 0.05
Moment = tuple[float, Event | bytes]


class HealthyAgent:
    """Answers in time, in one of the orders that are seen, and quicker than it sounds."""

    def __init__(self, dice: random.Random, *, is_aligned: bool) -> None:
        self._dice = dice
        self._is_aligned = is_aligned
        self.event_id = 0
        self.text = ""
        self.letters_per_second = dice.uniform(12.0, 22.0)

    def question(self, text: str) -> Iterator[Moment]:
        """The user speaks."""
        self.event_id += 1
        if self._dice.random() < 0.7:
            for end in range(2, len(text), 5):
                yield 0.2, tentative(self.event_id, text[:end])
        if self._dice.random() < 0.3:
            yield 0.1, {"type": "vad_score", "vad_score_event": {"vad_score": 0.8}}
        yield 0.3, transcript(self.event_id, text)

    def answer(self, *, after_writing: bool) -> Iterator[Moment]:
        """The agent answers what was said last."""
        dice = self._dice
        self.event_id += after_writing
        thinking = dice.random() * (PATIENCE - 0.6)
        if dice.random() < 0.2:
            yield thinking / 2, tool("agent_tool_request", f"t{self.event_id}", tool_type="webhook")
            yield 5 * dice.random(), tool("agent_tool_response", f"t{self.event_id}", tool_type="webhook")
            if dice.random() < 0.3:
                return  # it chooses to say nothing of it
        self.text = " ".join(dice.choices(WORDS, k=dice.randrange(1, 40)))
        messages = list(self.messages(self.text))
        text_at = 0 if dice.random() < 0.7 else dice.randrange(len(messages) + 1)
        events: list[Event | bytes] = [*messages[:text_at], response(self.event_id, self.text), *messages[text_at:]]
        yield thinking, events[0]
        for event in events[1:]:
            yield dice.random() * 0.15, event

    def messages(self, text: str) -> Iterator[bytes]:
        size = 8
        for begin in range(0, len(text), size):
            piece = text[begin : begin + size]
            if self._is_aligned:
                yield audio(self.event_id, voice(len(piece) * STEP), aligned(piece, step=STEP))
            else:
                yield audio(self.event_id, voice(weight_of(piece) / self.letters_per_second))


def let_pass(told: Told, seconds: float) -> None:
    """Time passes, and somebody looks at it all the while."""
    while seconds > 0:
        assert told.due(min(TICK, seconds)) is None
        told.tracker.is_idle(told.clock.now)
        seconds -= TICK


def happen(told: Told, moments: Iterator[Moment], *, at_most: int = 10_000) -> None:
    for _, (seconds, event) in zip(range(at_most), moments, strict=False):
        let_pass(told, seconds)
        told.agent(event)
        assert told.due() is None


@pytest.mark.parametrize("is_aligned", [True, False])
@pytest.mark.parametrize("seed", range(15))
def test_a_healthy_agent_is_never_late(seed, is_aligned):
    dice = random.Random(seed)
    told, agent = Told(), HealthyAgent(dice, is_aligned=is_aligned)
    happen(told, agent.answer(after_writing=True))
    for turn in range(12):
        waits = dice.random() < 0.5
        if waits:
            told.play_out()
            let_pass(told, dice.random() * 8)
        if dice.random() < 0.1:
            happen(told, agent.answer(after_writing=True))  # "are you still there?"
        by_writing = dice.random() < 0.4
        question = f"question number {turn} of this talk"
        if by_writing:
            told.types(question)
        is_heard = told.tracker.takeover(told.clock.now).unplayed_seconds > 0
        if is_heard:
            let_pass(told, 0.2)
            told.agent(interruption(agent.event_id))
            if dice.random() < 0.6:
                told.agent(correction(agent.event_id, agent.text, agent.text[: len(agent.text) // 2]))
        if not by_writing:
            happen(told, agent.question(question))
        happen(
            told, agent.answer(after_writing=by_writing), at_most=dice.choice([3, 10_000, 10_000]) if waits else 10_000
        )
        if told.tracker.takeover(told.clock.now).rest is not None or dice.random() < 0.2:
            let_pass(told, 0.3)
            told.agent(interruption(agent.event_id))


@pytest.mark.parametrize("is_aligned", [True, False])
@pytest.mark.parametrize("seed", range(30))
def test_an_agent_that_dies_is_found_and_no_word_is_lost(seed, is_aligned):
    dice = random.Random(seed)
    told, agent = Told(), HealthyAgent(dice, is_aligned=is_aligned)
    happen(told, agent.answer(after_writing=True))
    told.play_out()
    question = "What is it all about?"
    happen(told, agent.question(question))
    moments = [moment for moment in agent.answer(after_writing=False) if not is_of_tools(moment[1])]
    happen(told, iter(moments[: dice.randrange(len(moments) + 1)]))
    left = told.tracker.takeover(told.clock.now)
    if left.rest is None:
        assert left.question == question or left.history[-1].speaker == "agent"
    else:
        assert left.said + left.rest == left.full_text == agent.text
        assert ("user", question) in told.words()
    overdue = {told.due(TICK) for _ in range(300)} - {None}
    is_owed = left.rest is not None or (left.question is not None and not left.said)
    if is_aligned and is_owed and left.said.strip() != agent.text:
        assert overdue & {Overdue.FIRST_AUDIO_LATE, Overdue.ANSWER_STALLED}
    takeover = Takeover(
        agent_id="a", conversation_id="c", rest=left.rest, full_text=left.full_text, question=left.question,
        announce=not left.announced,
    )  # fmt: skip
    told.tracker.begin_leg(takeover)
    if left.rest is not None:
        told.agent(*agent.messages(left.rest))
        told.play_out()
        assert told.words()[-1] == ("agent", agent.text)


def is_of_tools(event: Event | bytes) -> bool:
    return isinstance(event, dict) and event["type"].startswith("agent_tool")
