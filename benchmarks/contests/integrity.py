"""Is anything lost or out of turn in ten million messages? Floods both ways, each message numbered and looked at."""

from __future__ import annotations

import time

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field, messages, say, wrong
from benchmarks.generator.targets import Target
from benchmarks.goals import Row
from benchmarks.numbers import Total

MESSAGES = 10_000_000
CONVERSATIONS = 4
SECONDS = 10.0
LIMIT_SECONDS = 900.0
"""A relay that is too slow for ten million in this time has fewer looked at, and the row says how many."""


def _turn(field: Field, relay: Target) -> Readings:
    led = field.conversations(relay, CONVERSATIONS)
    carried = lost = 0
    end = time.monotonic() + LIMIT_SECONDS
    while carried < MESSAGES and time.monotonic() < end:
        for way in ("up", "down"):
            (outcomes,), _ = field.lead(relay, f"flood {way}", [(f"flood {way}", led)], SECONDS)
            carried += messages(outcomes)
            lost += wrong(outcomes)
        say(f"{carried / 1e6:.1f} of {MESSAGES / 1e6:.0f} million messages, {lost} lost or out of turn")
    return {"messages": Total(carried), "lost": Total(lost)}


LOAD = Load(
    name="integrity",
    title="Ten million messages",
    parameters=f"{MESSAGES} messages, {CONVERSATIONS} conversations",
    relays=("service",),
    rows=(
        Row("lost", "", "**messages lost or out of turn**, of {messages}", at_most=0),
        Row("messages", "", "messages, both ways", at_least=MESSAGES),
    ),
    turn=_turn,
    rounds=1,
)
