"""What does a client's message cost that arrives in eight packets, one after the other, as over a slow network?"""

from __future__ import annotations

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field, messages, wrong
from benchmarks.generator.plans import PIECE_GAP_SECONDS, PIECES
from benchmarks.generator.targets import Target
from benchmarks.goals import Row
from benchmarks.numbers import Pooled, Reading, Total

CONVERSATIONS = 300
SECONDS = 2.5


def _turn(field: Field, relay: Target) -> Readings:
    led = field.conversations(relay, CONVERSATIONS)
    (outcomes,), usage = field.lead(relay, "pieces", [("voice in pieces", led)], SECONDS)
    reads = sum(outcome.agent.reads for outcome in outcomes)
    readings: dict[str, Reading] = {"reads": Pooled(reads, messages(outcomes))}
    if relay.worker_pids:
        readings["cpu"] = Pooled(usage.worker * 1e6, messages(outcomes))
        readings["lost"] = Total(wrong(outcomes))
    return readings


LOAD = Load(
    name="pieces",
    title="Messages in pieces",
    parameters=f"{CONVERSATIONS} conversations, {PIECES} pieces {PIECE_GAP_SECONDS * 1000:g} ms apart, {SECONDS:g} s",
    relays=("service", "nginx", "haproxy"),
    rows=(
        Row("cpu", "µs", f"**CPU for a message** in {PIECES} packets, client to agent", times_nginx=0.75),
        Row("reads", "", "times that the agent had to read for a message"),
        Row("lost", "", "messages lost or out of turn", at_most=0),
    ),
    turn=_turn,
    with_direct=True,
)
