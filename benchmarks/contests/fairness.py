"""What do others wait for whom one talker floods? Voices with and without a talker on the same worker, in turn.

The bound of messages that the service puts on a conversation is raised so far that it never acts (`parts`): with it, no
client gets near this rate.
"""

from __future__ import annotations

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field, added, wrong
from benchmarks.generator.plans import TALKER_RATE
from benchmarks.generator.targets import Target
from benchmarks.goals import Row
from benchmarks.numbers import Pooled, Total

CONVERSATIONS = 50
SECONDS = 3.0


def _turn(field: Field, relay: Target) -> Readings:
    straight = field.conversations(field.parts.direct, CONVERSATIONS)
    *others, talker = field.conversations(relay, CONVERSATIONS + 1)
    voices = [("voice", straight), ("voice", others)]
    (direct, alone), _ = field.lead(relay, "voices", voices, SECONDS)
    quiet = added(alone, direct, 0.99)
    parts = [*voices, ("talker", [talker])]
    (direct, beside, flood), usage = field.lead(relay, "voices and a talker", parts, SECONDS)
    loud = added(beside, direct, 0.99)
    return {
        "quiet_p99": quiet,
        "loud_p99": loud,
        "extra_p99": loud - quiet,
        "talker_rate": Pooled(flood[0].client.sent, SECONDS),
        "core": 100 * usage.worker / usage.seconds,
        "lost": Total(wrong(alone) + wrong(beside) + wrong(flood)),
    }


LOAD = Load(
    name="fairness",
    title="One talker floods",
    parameters=f"{CONVERSATIONS} conversations, {TALKER_RATE} messages a second, {SECONDS:g} s",
    relays=("service", "nginx"),
    rows=(
        Row("extra_p99", "ms", "**what the talker adds** to the others' p99", at_most=5),
        Row("quiet_p99", "ms", "the others' added delay p99 without the talker"),
        Row("loud_p99", "ms", "the others' added delay p99 beside the talker"),
        Row("talker_rate", "1/s", f"messages of the talker, of {TALKER_RATE} wanted"),
        Row("core", "%", "share of a core, relay, beside the talker"),
        Row("lost", "", "messages lost or out of turn", at_most=0),
    ),
    turn=_turn,
)
