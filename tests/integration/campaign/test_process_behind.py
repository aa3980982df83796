"""What speaks for ElevenLabs is killed outright, or stops in the middle of a word without closing anything."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator

import pytest

from soak.service_log import failures_in
from tests.campaign import campaign
from tests.campaign.caller import Caller, Line, TalkError, draw_lines, problems_with
from tests.integration.campaign.conftest import Stage, StartStage

CALLERS = 12
LINES = 2
LIMIT_SECONDS = 30.0


@pytest.fixture
def stage(start_stage: StartStage) -> Iterator[Stage]:
    # Sound comes six times as fast as it is heard, so that there is a middle of an answer to be killed in.
    started = start_stage(
        "--latency-scale", "0.5", **campaign.HASTY_SETTINGS, VOCERO_LEG_SILENCE_SECONDS="3"
    )  # fmt: skip
    yield started
    os.kill(started.sandbox.child.pid, signal.SIGCONT)  # else it does not end


# One that hangs is harder to see than one that is dead.
@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.long), signal.SIGSTOP])
def test_everybody_goes_on_where_they_were(stage: Stage, number: signal.Signals) -> None:
    answers = campaign.answers()
    talks = [
        (Caller(stage.scene.url(), f"caller-{index}"), draw_lines(random.Random(index), answers, LINES, barges=0.2))
        for index in range(CALLERS)
    ]
    failures = asyncio.run(all_of(talks, stage.sandbox.child.pid, number))
    greetings = [campaign.GREETING]
    assert failures == []
    assert [problem for caller, lines in talks for problem in problems_with(caller, lines, greetings)] == []
    changed = [caller.transcript.changes for caller, _ in talks]
    assert all(len(changes) == 1 and changes[0].provider == "local" for changes in changed)
    assert failures_in(stage.service.log_path) == []


async def all_of(talks: list[tuple[Caller, list[Line]]], pid: int, number: signal.Signals) -> list[str]:
    """Hold them all, and send the signal when each has asked something and hears the answer."""
    running = [asyncio.create_task(talk(caller, lines)) for caller, lines in talks]
    async with asyncio.timeout(LIMIT_SECONDS):
        while not all(len(caller.transcript.answers) > 1 for caller, _ in talks):
            await asyncio.sleep(0.01)
    os.kill(pid, number)
    return [failure for failure in await asyncio.gather(*running) if failure]


async def talk(caller: Caller, lines: list[Line]) -> str:
    try:
        await caller.talk(lines)
    except TalkError as exc:
        return f"{caller.user_id}: {exc}"
    return ""
