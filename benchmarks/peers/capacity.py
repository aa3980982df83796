"""`python -m benchmarks --capacity`: how many conversations at voice rate one worker carries before it is too slow.

The key decision: a ladder. More and more conversations of one worker talk, beside a few that go straight to the
upstream, until the worker's core is full or the load generator's is; the last is no statement about the relay, and the
report says so. Carried is what stayed within the limit of added p99 (the median of the rounds), on a machine that was
not busy with other things, which the direct conversations tell.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

from benchmarks.conversation_load import ClientConversation, LoadError, conversations, lead
from benchmarks.loop import Loop
from benchmarks.metrics import quantile
from benchmarks.parts import Parts, running_parts
from benchmarks.peers.contest import BUSY_DIRECT_MS, DIRECT_CONVERSATIONS, WARM_UP_SECONDS, delays_of
from benchmarks.processes import UsageMeter, memory_bytes
from benchmarks.report import number, table
from benchmarks.targets import Target

RELAYS = ("service", "nginx")
STEPS = (250, 500, 750, 1000, 1500, 2000, 2500, 3000, 3500, 4000)
ROUNDS = 3
SECONDS = 2.0
LIMIT_MS = 2.0
FULL_CORE = 0.95


@dataclass(frozen=True)
class Step:
    """So many conversations at once. Delays in ms, `memory` in kB for each.

    `core` and `generator` are the shares of one core that the worker and the busier end of the load used.
    """

    conversations: int
    core: float
    generator: float
    frame_cpu: float
    memory: float
    direct_p99: float
    added_p50: float
    added_p99: float

    @property
    def end(self) -> str | None:
        """Why the ladder ends here; None: it goes on."""
        if self.generator > FULL_CORE:
            return "the load generator is at its end"
        return "the core is full" if self.core > FULL_CORE else None

    @property
    def is_good(self) -> bool:
        """Whether so many are carried within the limit."""
        return self.end is None and self.direct_p99 <= BUSY_DIRECT_MS and self.added_p99 <= LIMIT_MS


def climb(name: str) -> list[Step]:
    """The steps of one relay, fresh; empty if it is not installed. The last one is the first that was too much."""
    steps: list[Step] = []
    with running_parts(with_peers=name != "service") as parts, ExitStack() as stack:
        relay = next((target for target in (parts.service, *parts.peers) if target.name == name), None)
        if relay is None:
            return []
        ladder = _Ladder(parts, relay, stack)
        try:
            for count in STEPS:
                steps.append(ladder.step(count))
                print(f"{name}: {steps[-1]}", file=sys.stderr, flush=True)
                if steps[-1].end:
                    break
        except (LoadError, TimeoutError) as exc:
            print(f"{name} broke: {exc}", file=sys.stderr)
    return steps


class _Ladder:
    """A relay's conversations, which only become more."""

    def __init__(self, parts: Parts, relay: Target, stack: ExitStack) -> None:
        self._loop = Loop()
        self._relay = relay
        self._upstream_pid = parts.upstream_pid
        self._stack = stack
        with conversations(self._loop, [parts.direct, relay], 10) as led:
            lead(self._loop, led, "voice", WARM_UP_SECONDS)
        self._direct = self._opened(parts.direct, DIRECT_CONVERSATIONS)
        self._led: list[ClientConversation] = []
        self._memory_before = memory_bytes(relay.worker_pids)

    def step(self, count: int) -> Step:
        """Have `count` conversations talk."""
        self._led += self._opened(self._relay, count - len(self._led))
        rounds = [self._round() for _ in range(ROUNDS)]
        direct_p99, added_p50, added_p99, core, generator, frame_cpu = (
            statistics.median(values) for values in zip(*rounds, strict=True)
        )
        memory = (memory_bytes(self._relay.worker_pids) - self._memory_before) / count / 1000
        return Step(count, core, generator, frame_cpu, memory, direct_p99, added_p50, added_p99)

    def _round(self) -> tuple[float, ...]:
        """Direct p99, added p50 and p99, shares of a core (worker, load), microseconds of CPU for a message."""
        meter = UsageMeter(upstream_pid=self._upstream_pid, worker_pids=self._relay.worker_pids)
        outcomes = lead(self._loop, [*self._direct, *self._led], "voice", SECONDS)
        usage = meter.read()
        own = outcomes[len(self._direct) :]
        straight, through = delays_of(outcomes[: len(self._direct)]), delays_of(own)
        if any(outcome.lost or outcome.disordered for outcome in own):
            raise LoadError("messages were lost or came out of turn")
        direct_p99 = quantile(straight, 0.99)
        added_p50 = quantile(through, 0.5) - quantile(straight, 0.5)
        frames = sum(outcome.frames for outcome in own)
        added_p99 = quantile(through, 0.99) - direct_p99
        load = max(usage.client, usage.upstream)
        frame_cpu = usage.worker / frames * 1e6
        return direct_p99, added_p50, added_p99, usage.worker / SECONDS, load / SECONDS, frame_cpu

    def _opened(self, target: Target, count: int) -> list[ClientConversation]:
        return self._stack.enter_context(conversations(self._loop, [target], count))


def report(ladders: Mapping[str, Sequence[Step]], *, about: Mapping[str, str], when: datetime) -> str:
    """The ladders, in Markdown."""
    facts = {"date": f"{when:%Y-%m-%d %H:%M} UTC", **about}
    lines = [f"- {name}: {text}" for name, text in facts.items()]
    for name, steps in ladders.items():
        lines += ["", f"**{name}**: {_verdict(steps)}", "", *_ladder_table(steps)]
    return "\n".join(lines) + "\n"


def history(ladders: Mapping[str, Sequence[Step]]) -> dict[str, float]:
    """What is remembered of each relay: how many conversations it carried within the limits."""
    return {f"capacity_{name}": float(_carried(steps)) for name, steps in ladders.items()}


def _carried(steps: Sequence[Step]) -> int:
    return max((step.conversations for step in steps if step.is_good), default=0)


def _verdict(steps: Sequence[Step]) -> str:
    if not steps:
        return "not measured."
    end = f"at {steps[-1].conversations} {steps[-1].end}" if steps[-1].end else "the ladder has no further step"
    return f"{_carried(steps)} conversations within {LIMIT_MS:g} ms of added p99 on one worker; {end}."


def _remark(step: Step) -> str:
    if step.end is not None or step.is_good:
        return step.end or ""
    return "the machine was busy" if step.direct_p99 > BUSY_DIRECT_MS else f"above {LIMIT_MS:g} ms"


def _ladder_table(steps: Sequence[Step]) -> list[str]:
    head = ("conversations", "share of a core", "CPU µs for a message", "memory kB for each", "direct p99 ms")
    rows: list[tuple[str, ...]] = [(*head, "added p50 ms", "added p99 ms", "")]
    for step in steps:
        delays = (number(value) for value in (step.direct_p99, step.added_p50, step.added_p99))
        share = f"{step.core * 100:.0f} %"
        rows.append(
            (str(step.conversations), share, number(step.frame_cpu), number(step.memory), *delays, _remark(step))
        )
    return table(rows)
