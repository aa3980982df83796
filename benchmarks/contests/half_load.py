"""What does a relay add when it is half busy? As many conversations as keep each relay's core busy half of the time.

The key decision: every relay has its own half. What saturates one is nothing to another, and a queue's length depends
on how busy its server is. The half is found by trying, before the rounds; the share that was reached is in the rows.
"""

from __future__ import annotations

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field, added, delays, messages, say, wrong
from benchmarks.contests.voice import keeps_up
from benchmarks.generator.audio_frames import MESSAGES_A_SECOND
from benchmarks.generator.conversation_load import LoadError
from benchmarks.generator.targets import Target
from benchmarks.goals import Row
from benchmarks.numbers import Pooled, Total, quantile
from benchmarks.processes import Usage

DIRECT_CONVERSATIONS = 50
SECONDS = 3.0
TRIAL_SECONDS = 1.5
FIRST_TRIAL = 200
FEWEST_CONVERSATIONS = 10
MOST_CONVERSATIONS = 3000
HALF = 0.5
NEAR_ENOUGH = 0.08
TRIALS = 4
LOAD_FULL = 0.9


def _prepare(field: Field) -> None:
    for relay in field.parts.relays:
        field.memory[relay.name] = _half_of(field, relay)
        say(f"{relay.name}: half busy with {field.memory[relay.name]} conversations")


def _half_of(field: Field, relay: Target) -> int:
    count = wanted = FIRST_TRIAL
    for _ in range(TRIALS):
        # A message costs less the more of them come: so not all the way at once.
        count = max(FEWEST_CONVERSATIONS, min(MOST_CONVERSATIONS, 2 * count, wanted))
        try:
            led = field.conversations(relay, count)
            (outcomes,), usage = field.lead(relay, "trial", [("voice", led)], TRIAL_SECONDS)
        except (LoadError, TimeoutError) as exc:
            say(f"{relay.name} does not carry {count} conversations: {exc}")
            field.hang_up(relay.name)
            return max(FEWEST_CONVERSATIONS, count // 4)
        wanted = conversations_for_half(usage, messages(outcomes), field.load_cores)
        if not keeps_up(outcomes, usage):
            say(f"{relay.name} does not carry {count} conversations in real time")
            return max(FEWEST_CONVERSATIONS, count // 2)
        if abs(wanted - count) <= NEAR_ENOUGH * count:
            break
    return count


def conversations_for_half(usage: Usage, count: int, load_cores: int) -> int:
    """How many make the relay half busy if `count` messages cost `usage`, or as many as the load is able to.

    By what a message costs, not by the time that it took: a machine that does other things, too, takes longer.
    """
    relay_cpu, load_cpu = usage.worker / count, (usage.client + usage.upstream) / count
    half = HALF / max(relay_cpu, 1e-7)
    most = LOAD_FULL * load_cores / max(load_cpu, 1e-7)
    return round(min(half, most) / MESSAGES_A_SECOND)


def _turn(field: Field, relay: Target) -> Readings:
    count: int = field.memory[relay.name]
    straight = field.conversations(field.parts.direct, DIRECT_CONVERSATIONS)
    parts = [("voice", straight), ("voice", field.conversations(relay, count))]
    (direct, through), usage = field.lead(relay, "half load", parts, SECONDS)
    return {
        "added_p50": added(through, direct, 0.5),
        "added_p99": added(through, direct, 0.99),
        "direct_p50": quantile(delays(direct), 0.5),
        "direct_p99": quantile(delays(direct), 0.99),
        "conversations": float(count),
        "core": 100 * usage.worker / usage.seconds,
        "load": 100 * (usage.client + usage.upstream) / usage.seconds,
        "cpu": Pooled(usage.worker * 1e6, messages(through)),
        "lost": Total(wrong(through)),
    }


LOAD = Load(
    name="half",
    title="Half busy",
    parameters=f"voice rate, half a core, {SECONDS:g} s",
    relays=("service", "nginx", "haproxy", "websockets", "flask-sock"),
    rows=(
        Row("added_p50", "ms", "**added delay p50**", at_most=0.06),
        Row("added_p99", "ms", "**added delay p99**", at_most=0.5),
        Row("direct_p50", "ms", "without a relay at the same time, p50"),
        Row("direct_p99", "ms", "without a relay at the same time, p99"),
        Row("conversations", "", "conversations at voice rate"),
        Row("core", "%", "share of a core, relay"),
        Row("load", "%", "share of a core, load generator and fake upstream"),
        Row("lost", "", "messages lost or out of turn", at_most=0),
    ),
    turn=_turn,
    prepare=_prepare,
)
