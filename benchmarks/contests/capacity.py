"""How many conversations at voice rate does one core carry, until they wait for 2 ms?

The key decision: a ladder. More and more conversations talk, beside a few that go straight to the upstream, until the
relay's core is full, the delay is far above the limit, or the load has no more to give; the last is no statement about
the relay, and the report says so. Carried is what stayed within the limit (the median of the rounds).
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field, added, delays, messages, say, wrong
from benchmarks.generator.conversation_load import LoadError
from benchmarks.generator.targets import Target
from benchmarks.goals import Row
from benchmarks.numbers import quantile
from benchmarks.processes import memory_bytes

STEPS = (250, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000)
ROUNDS = 3
SECONDS = 2.0
DIRECT_CONVERSATIONS = 50
LIMIT_MS = 2.0
HOPELESS_MS = 50.0
"""Added p99 from which no further step is climbed."""

FULL_CORE = 0.97


@dataclass(frozen=True)
class Step:
    """So many conversations at once. Delays in ms, `memory` in kB for each.

    `core` and `load` are shares of one core: of the relay, and of load generator and fake upstream together.
    """

    conversations: int
    core: float
    load: float
    cpu: float
    memory: float
    direct_p99: float
    added_p50: float
    added_p99: float
    end: str = ""

    @property
    def is_good(self) -> bool:
        """Whether so many are carried within the limit."""
        return self.added_p99 <= LIMIT_MS and self.core < FULL_CORE


def _turn(field: Field, relay: Target) -> Readings:
    before = memory_bytes(relay.worker_pids)
    steps: list[Step] = []
    field.ladders[relay.name] = steps
    for count in STEPS:
        try:
            steps.append(_climb(field, relay, count, before))
        except (LoadError, TimeoutError) as exc:
            say(f"{relay.name} broke at {count} conversations: {exc}")
            break
        say(f"{count} conversations: {steps[-1].core:.0%} of a core, p99 {steps[-1].added_p99:.2f} ms added")
        if steps[-1].end:
            break
    field.hang_up(relay.name)
    carried = max((step.conversations for step in steps if step.is_good), default=0)
    return {"carried": float(carried), "tried": float(steps[-1].conversations if steps else 0)}


def _climb(field: Field, relay: Target, count: int, before: int) -> Step:
    """Have `count` conversations talk, and note the medians of the rounds."""
    straight = field.conversations(field.parts.direct, DIRECT_CONVERSATIONS)
    parts = [("voice", straight), ("voice", field.conversations(relay, count))]
    rounds = []
    for _ in range(ROUNDS):
        (direct, through), usage = field.lead(relay, f"{count} voices", parts, SECONDS)
        if wrong(through):
            raise LoadError(f"{wrong(through)} messages were lost or came out of turn")
        rounds.append(
            (
                usage.worker / usage.seconds,
                (usage.client + usage.upstream) / usage.seconds,
                usage.worker / messages(through) * 1e6,
                (memory_bytes(relay.worker_pids) - before) / count / 1000,
                quantile(delays(direct), 0.99),
                added(through, direct, 0.5),
                added(through, direct, 0.99),
            )
        )
    core, load, cpu, memory, direct_p99, added_p50, added_p99 = (
        statistics.median(values) for values in zip(*rounds, strict=True)
    )
    end = _end(core, load, added_p99, field.load_cores)
    return Step(count, core, load, cpu, memory, direct_p99, added_p50, added_p99, end)


def _end(core: float, load: float, added_p99: float, load_cores: int) -> str:
    if load > FULL_CORE * load_cores:
        return "the load has no more to give"
    if core > FULL_CORE:
        return "the core is full"
    return "far above the limit" if added_p99 > HOPELESS_MS else ""


def _load(name: str, title: str, at_least: int, *, over_tls: bool) -> Load:
    return Load(
        name=name,
        title=title,
        parameters=f"voice rate, {ROUNDS} x {SECONDS:g} s, {LIMIT_MS:g} ms{', TLS' if over_tls else ''}",
        relays=("service", "nginx"),
        rows=(
            Row(
                "carried", "", f"**conversations with added p99 below {LIMIT_MS:g} ms** on one core", at_least=at_least
            ),
            Row("tried", "", "conversations at which the ladder ended"),
        ),
        turn=_turn,
        over_tls=over_tls,
        rounds=1,
    )


PLAIN = _load("capacity", "Conversations on one core", 3500, over_tls=False)
TLS = _load("capacity-tls", "Conversations on one core, TLS to ElevenLabs", 2500, over_tls=True)
