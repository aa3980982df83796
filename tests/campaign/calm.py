"""Conversations in which everything happens that is nobody's fault: nothing may look like a failure of ElevenLabs.

The key decision: each is a random walk through what clients do (break in, type nothing, let a tool be slow, fall
silent for a moment, ask for an override that is refused, leave in the middle of a word), and is judged by one thing:
that no other provider spoke.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

from tests.campaign import campaign
from tests.campaign.caller import TOOL, TOOL_RESULT, Caller, Line, TalkError, draw_lines, problems_with
from tests.campaign.campaign import GREETING, Outcome, Scene

TOOL_ANSWER = f"On your device it is {TOOL_RESULT}."
REFUSED = {"conversation_config_override": {"agent": {"prompt": {"prompt": "Be rude."}}}}
LINES = 4
WARM_UP, WARM_UP_AT_ONCE, WARM_UP_ATTEMPTS = 24, 12, 4
"""Twice a dozen: of the first it happens that one of two workers takes all; more at once is too much for a cold one."""


def run(
    scene: Scene, numbers: Iterable[int], *, at_once: int, note: Callable[[Outcome], None] | None = None
) -> list[Outcome]:
    """Hold the conversations of these numbers, so many at once."""
    return asyncio.run(_all(scene, numbers, at_once, note))


def warm_up(scene: Scene) -> None:
    """Let every worker hear the agent once: until then a text without sound may be one of an agent that only writes.

    A cold worker on a busy machine may be late; what counts begins when a dozen and another one went as they should.
    """
    failures: list[str] = []
    for _ in range(WARM_UP_ATTEMPTS):
        outcomes = run(scene, range(WARM_UP), at_once=WARM_UP_AT_ONCE)
        failures = [failure for each in outcomes for failure in each.failures]
        if not failures:
            return
    raise AssertionError(failures)


async def _all(
    scene: Scene, numbers: Iterable[int], at_once: int, note: Callable[[Outcome], None] | None
) -> list[Outcome]:
    places = asyncio.Semaphore(at_once)
    answers = campaign.answers()

    async def one(number: int) -> Outcome:
        async with places:
            outcome = await _hold(scene, number, answers)
        if note is not None:
            note(outcome)
        return outcome

    return await asyncio.gather(*(one(number) for number in numbers))


async def _hold(scene: Scene, number: int, answers: dict[str, str]) -> Outcome:
    dice = random.Random(number)
    kind = dice.choice(("talks", "talks", "talks", "breaks in", "breaks in", "uses tools", "leaves", "is refused"))
    lines = _draw(dice, answers, kind)
    caller = Caller(scene.url(), f"calm-{number}", initiation=REFUSED if kind == "is refused" else None)
    caller.pauses_before_tool = dice.choice((0.0, 0.0, 1.0))
    outcome = Outcome(caller.user_id, kind)
    try:
        await caller.talk(lines, leaves_at=dice.randrange(3, 60) if kind == "leaves" else None)
    except TalkError as exc:
        if kind != "is refused" or caller.ending is None or caller.ending[0] != 1008:
            outcome.failures.append(str(exc))
    else:
        if kind == "is refused":
            outcome.failures.append("an override that is not allowed was taken")
        elif kind != "leaves":
            outcome.failures += problems_with(caller, lines, [GREETING])
    outcome.causes = tuple(change.cause for change in caller.transcript.changes)
    if outcome.causes:
        outcome.failures.append(f"{kind}: another provider spoke: {', '.join(outcome.causes)}")
    return outcome


def _draw(dice: random.Random, answers: dict[str, str], kind: str) -> list[Line]:
    lines = draw_lines(dice, answers, LINES, barges=0.9 if kind == "breaks in" else 0.3)
    if kind == "uses tools":
        lines.insert(dice.randrange(LINES), Line(TOOL, TOOL_ANSWER))
    if dice.random() < 0.3:
        lines.insert(dice.randrange(1, LINES), Line(dice.choice(("", "   "))))
    return lines
