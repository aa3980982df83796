"""Running parts under load: conversations that stay open between the rounds, and what a load of them uses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from benchmarks.generator.conversation_load import ClientConversation, Outcome, conversations, lead
from benchmarks.generator.loop import Loop
from benchmarks.generator.targets import Target
from benchmarks.numbers import quantile
from benchmarks.parts import Parts
from benchmarks.processes import Usage, UsageMeter, memory_bytes

SETTLE_SECONDS = 1.0
WARM_UP_CONVERSATIONS = 10
WARM_UP_SECONDS = 1.0


class Field:
    """`parts` with a load generator before them; leaving its `with` block hangs up.

    `usages` has what everybody used, by what was done (the last time that it was); `memory` is a load's own, to keep
    between the rounds what it found out; `ladders` has the steps of a load that climbs, by relay.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.loop = Loop()
        self.usages: dict[str, Usage] = {}
        self.memory: dict[str, Any] = {}
        self.ladders: dict[str, Sequence[Any]] = {}
        self.load_cores = max(1, (os.cpu_count() or 1) - 1)
        self._open: dict[str, list[ClientConversation]] = {}
        self._stacks: dict[str, ExitStack] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        for name in list(self._stacks):
            self.hang_up(name)
        self.loop.close()

    def warm_up(self, target: Target) -> None:
        """Have everything loaded and allocated that the first conversations bring about."""
        with conversations(self.loop, target, WARM_UP_CONVERSATIONS) as led:
            lead(self.loop, [("voice", led)], WARM_UP_SECONDS)

    def conversations(self, target: Target, count: int) -> list[ClientConversation]:
        """`count` conversations over `target`, opened as far as they are not open yet."""
        led = self._open.setdefault(target.name, [])
        if len(led) < count:
            say(f"{target.name}: opening {count - len(led)} conversations")
            stack = self._stacks.setdefault(target.name, ExitStack())
            led += stack.enter_context(conversations(self.loop, target, count - len(led)))
        return led[:count]

    def hang_up(self, name: str) -> None:
        """End the conversations over the target of this name."""
        self._open.pop(name, None)
        self._stacks.pop(name, ExitStack()).close()

    def lead(
        self, relay: Target, what: str, parts: Sequence[tuple[str, Sequence[ClientConversation]]], seconds: float
    ) -> tuple[list[list[Outcome]], Usage]:
        """Lead conversations through plans, part by part, and see what that uses of everybody."""
        meter = self.meter(relay)
        outcomes = lead(self.loop, parts, seconds, on_start=meter.start, on_end=meter.stop)
        return outcomes, self.note(relay, what, meter)

    def meter(self, relay: Target) -> UsageMeter:
        """A meter of everybody, beginning now."""
        return UsageMeter(upstream_pid=self.parts.upstream_pid, worker_pids=relay.worker_pids)

    def note(self, relay: Target, what: str, meter: UsageMeter) -> Usage:
        """Read `meter`, and keep it for the report."""
        usage = meter.read()
        self.usages[f"{what}, {relay.name}"] = usage
        return usage

    def memory_of(self, relay: Target) -> int:
        """Bytes of the relay's processes, as soon as what is under way has come to its end."""
        self.loop.run_for(SETTLE_SECONDS)
        return memory_bytes(relay.worker_pids)


def delays(outcomes: Sequence[Outcome]) -> list[float]:
    """Milliseconds of all messages, both ways."""
    return [delay for outcome in outcomes for delay in outcome.delays]


def added(through: Sequence[Outcome], straight: Sequence[Outcome], share: float) -> float:
    """Milliseconds by which a quantile is higher through a relay than without it, at the same time."""
    return quantile(delays(through), share) - quantile(delays(straight), share)


def wrong(outcomes: Sequence[Outcome]) -> int:
    """Messages that were lost or came out of turn."""
    return sum(outcome.wrong for outcome in outcomes)


def messages(outcomes: Sequence[Outcome]) -> int:
    """Messages that arrived."""
    return sum(outcome.messages for outcome in outcomes)


def say(text: str) -> None:
    """Tell who waits what is going on."""
    print(f"{text} ...", file=sys.stderr, flush=True)
