"""What does a message cost at real-time rate, and what does it wait? Many conversations as people have them.

The key decision: the load has to keep up, or the rate is no real-time rate. How many conversations this machine can
have is found out before the rounds, with the slowest of the relays, and stands in the rows' names.
"""

from __future__ import annotations

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field, added, messages, say, wrong
from benchmarks.generator.audio_frames import MESSAGES_A_SECOND
from benchmarks.generator.conversation_load import LoadError, Outcome
from benchmarks.generator.targets import Target
from benchmarks.goals import Row
from benchmarks.numbers import Pooled, Total
from benchmarks.processes import Usage

WANTED = 2000
STEPS = (WANTED, 1500, 1200, 1000, 800, 600, 400, 200)
SECONDS = 3.0
TRIAL_SECONDS = 1.0
DIRECT_CONVERSATIONS = 50
FULL_CORE = 0.97
LATEST_MILLISECONDS = 250.0


def keeps_up(outcomes: list[Outcome], usage: Usage) -> bool:
    """Whether everybody spoke when it was due, and the relay had time left."""
    late = max(tally.lateness[0] for one in outcomes for tally in (one.client, one.agent) if tally.lateness)
    return late / 1000 <= LATEST_MILLISECONDS and usage.worker / usage.seconds <= FULL_CORE


def _prepare(field: Field) -> None:
    """Find how many conversations every relay carries at this rate."""
    field.memory["conversations"] = STEPS[-1]
    for count in STEPS:
        if all(_is_carried(field, relay, count) for relay in field.parts.relays):
            field.memory["conversations"] = count
            return


def _is_carried(field: Field, relay: Target, count: int) -> bool:
    try:
        (outcomes,), usage = field.lead(relay, "trial", [("voice", field.conversations(relay, count))], TRIAL_SECONDS)
    except (LoadError, TimeoutError) as exc:
        say(f"{relay.name} does not carry {count} conversations: {exc}")
        field.hang_up(relay.name)
        return False
    is_carried = keeps_up(outcomes, usage)
    if not is_carried:
        say(f"{relay.name} does not carry {count} conversations in real time")
    return is_carried


def _turn(field: Field, relay: Target) -> Readings:
    count: int = field.memory["conversations"]
    straight = field.conversations(field.parts.direct, DIRECT_CONVERSATIONS)
    parts = [("voice", straight), ("voice", field.conversations(relay, count))]
    (direct, through), usage = field.lead(relay, "voice", parts, SECONDS)
    return {
        "cpu": Pooled(usage.worker * 1e6, messages(through)),
        "core": 100 * usage.worker / usage.seconds,
        "load": 100 * (usage.client + usage.upstream) / usage.seconds,
        "added_p50": added(through, direct, 0.5),
        "added_p99": added(through, direct, 0.99),
        "conversations": float(count),
        "lost": Total(wrong(through)),
    }


LOAD = Load(
    name="voice",
    title="Real-time rate",
    parameters=f"at most {WANTED} conversations, {MESSAGES_A_SECOND:g} messages a second, {SECONDS:g} s",
    relays=("service", "nginx"),
    rows=(
        Row("cpu", "µs", "**CPU for a message**, {conversations} at real-time rate", times_nginx=1.15),
        Row("core", "%", "share of a core, relay"),
        Row("load", "%", "share of a core, load generator and fake upstream"),
        Row("added_p50", "ms", "added delay p50, {conversations} at real-time rate"),
        Row("added_p99", "ms", "added delay p99, {conversations} at real-time rate"),
        Row("lost", "", "messages lost or out of turn", at_most=0),
    ),
    turn=_turn,
    prepare=_prepare,
)
