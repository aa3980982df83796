"""How long an agent is waited for: what it is known to need, and a second."""

from __future__ import annotations

import math

import pytest

from service.fallback.answer_times import ENOUGH_TURNS, MOST_AGENTS, AnswerTimes


@pytest.fixture
def times() -> AnswerTimes:
    return AnswerTimes(first_audio_seconds=1.0, thinking_seconds=2.0)


def test_an_agent_that_is_not_known_yet_gets_what_the_setting_says(times: AnswerTimes) -> None:
    assert times.patience("agent") == 3.0
    for _ in range(ENOUGH_TURNS - 1):
        times.note("agent", 0.4)
    assert times.patience("agent") == 3.0
    times.note("agent", 0.4)
    assert times.patience("agent") == pytest.approx(1.4)
    assert times.patience("another") == 3.0


def test_what_counts_is_the_time_that_all_but_one_in_twenty_turns_keep(times: AnswerTimes) -> None:
    for hundredths in range(1, 65):
        times.note("agent", hundredths / 100)
    assert times.usual("agent") == pytest.approx(0.61)
    for _ in range(64):
        times.note("agent", 5.0)  # the old ones are forgotten
    assert times.usual("agent") == 5.0


def test_nobody_is_waited_for_longer_than_fifteen_seconds(times: AnswerTimes) -> None:
    for _ in range(64):
        times.note("agent", 40.0)
    assert times.patience("agent") == 15.0


def test_an_agent_that_has_become_slower_for_good_is_waited_for_in_the_end(times: AnswerTimes) -> None:
    for _ in range(64):
        times.note("agent", 0.5)
    late = 0
    while times.patience("agent") < 4.0:
        times.note("agent", times.patience("agent"))
        late += 1
    assert late <= 16


def test_zero_is_never_too_late() -> None:
    assert AnswerTimes(first_audio_seconds=0, thinking_seconds=2.0).patience("agent") == math.inf


def test_nonsense_is_not_learned_from(times: AnswerTimes) -> None:
    for seconds in (math.nan, math.inf, -1.0):
        for _ in range(ENOUGH_TURNS):
            times.note("agent", seconds)
    assert times.patience("agent") == 3.0


def test_only_the_agents_that_were_used_last_are_remembered(times: AnswerTimes) -> None:
    for agent in ["first", *(f"agent_{number}" for number in range(MOST_AGENTS)), "last"]:
        for _ in range(ENOUGH_TURNS):
            times.note(agent, 0.5)
    assert times.usual("first") == 2.0
    assert times.usual("last") == 0.5
    assert len(times._agents) == MOST_AGENTS
