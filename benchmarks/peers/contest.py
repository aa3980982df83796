"""The measurement: every relay opens its conversations, then they take turns, round by round.

The key decision: rounds are short and their order changes, so that whatever the machine does besides falls on all of
them. Microseconds are pooled over the rounds; delays are the median of the rounds, because one bad moment of the
machine would otherwise be a whole relay's p99. While one relay carries voices, a few conversations go straight to the
upstream: the difference is what the relay adds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from benchmarks.conversation_load import ClientConversation, LoadError, Outcome, conversations, lead
from benchmarks.loop import Loop
from benchmarks.metrics import quantile
from benchmarks.parts import Parts, running_parts
from benchmarks.processes import Usage, UsageMeter, memory_bytes
from benchmarks.targets import Target

LOADS = ("voice", "flood")
CONVERSATIONS = 500
"""Of each relay, idle."""

VOICE_CONVERSATIONS = 200
"""Of those, 10 messages a second each: about half of what the slowest relay can do, for which the rest can wait."""

DIRECT_CONVERSATIONS = 50
FLOOD_CONVERSATIONS = 4
ROUNDS = 5
VOICE_SECONDS = 3.0
WARM_UP_SECONDS = 1.0
FLOOD_SECONDS = 1.5
SETTLE_SECONDS = 1.0
BUSY_DIRECT_MS = 5.0
"""A direct p99 above this is scheduling, and hides what a relay adds."""


@dataclass
class Contestant:
    """A relay under measurement: what it was given to do, and what that cost it.

    `cpu` (seconds) and `frames` are sums by load; `added` has a round's added delay (ms) by quantile; `broken` tells
    why it is out of the run.
    """

    target: Target
    led: list[ClientConversation] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    frames: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    added: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    values: dict[str, float] = field(default_factory=dict)
    broken: str | None = None


@dataclass(frozen=True)
class Contest:
    """What came of it: the contestants, and by (load, relay) the CPU that everybody used in the last round."""

    contestants: Sequence[Contestant]
    usages: dict[str, Usage]

    @property
    def values(self) -> dict[str, dict[str, float]]:
        """By relay and metric; a relay that broke has those that were measured before."""
        return {contestant.target.name: contestant.values for contestant in self.contestants}

    @property
    def broken(self) -> dict[str, str]:
        """By relay, why it did not get to the end."""
        return {one.target.name: one.broken for one in self.contestants if one.broken is not None}


def hold(rounds: int = ROUNDS, *, loads: Collection[str] = LOADS, relays: Collection[str] | None = None) -> Contest:
    """These loads over all relays that are installed, or over those named; five rounds of all take four minutes."""
    with running_parts(with_peers=True) as parts, ExitStack() as stack:
        contest = _Measurement(parts, stack, relays)
        contest.open(CONVERSATIONS if "voice" in loads else FLOOD_CONVERSATIONS)
        for number in range(rounds if "voice" in loads else 0):
            contest.take_turns(f"voice, round {number + 1} of {rounds}", number, contest.speak)
        contest.note_active_memory()
        for number in range(rounds if "flood" in loads else 0):
            contest.take_turns(f"floods, round {number + 1} of {rounds}", number, contest.flood)
        return contest.result()


class _Measurement:
    """A contest under way over `parts`; `stack` ends the conversations."""

    def __init__(self, parts: Parts, stack: ExitStack, relays: Collection[str] | None) -> None:
        self._loop = Loop()
        self._stack = stack
        self._upstream_pid = parts.upstream_pid
        self._direct = Contestant(parts.direct)
        self._relays = [
            Contestant(target) for target in (parts.service, *parts.peers) if relays is None or target.name in relays
        ]
        self._memory_before: dict[str, int] = {}
        self._usages: dict[str, Usage] = {}

    # --- What is done

    def open(self, count: int) -> None:
        """Open `count` conversations of each, and see what an idle one takes."""
        self._direct.led = self._opened(self._direct, DIRECT_CONVERSATIONS)
        for relay in self._relays:
            self._guarded(lambda relay: self._open(relay, count), relay)

    def take_turns(self, what: str, number: int, load: Callable[[Contestant], None]) -> None:
        """Give every relay its turn, beginning with another one each time."""
        print(f"{what} ...", file=sys.stderr, flush=True)
        start = number % len(self._relays)
        for relay in (*self._relays[start:], *self._relays[:start]):
            self._guarded(load, relay)
        if load == self.flood:  # without any relay: what load generator and upstream are able to
            self._guarded(load, self._direct)

    def speak(self, relay: Contestant) -> None:
        """Conversations of `relay` at voice rate, beside the direct ones."""
        led = [*self._direct.led, *relay.led[:VOICE_CONVERSATIONS]]
        outcomes = self._lead(relay, led, "voice", VOICE_SECONDS, counted=VOICE_CONVERSATIONS)
        straight, through = delays_of(outcomes[: len(self._direct.led)]), delays_of(outcomes[len(self._direct.led) :])
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            relay.added[name].append(quantile(through, share) - quantile(straight, share))
            self._direct.added[name].append(quantile(straight, share))

    def flood(self, relay: Contestant) -> None:
        """A few conversations of `relay` as fast as they go, one way and then the other."""
        led = relay.led[:FLOOD_CONVERSATIONS]
        for kind in ("flood_up", "flood_down"):
            self._lead(relay, led, kind, FLOOD_SECONDS, counted=len(led))

    def note_active_memory(self) -> None:
        """See what a conversation takes that has just talked."""
        for relay in self._relays:
            if relay.broken is None and "memory_idle" in relay.values:
                grown = (self._memory_of(relay) - relay.values["memory_idle"]) * CONVERSATIONS / VOICE_CONVERSATIONS
                relay.values["memory_active"] = relay.values["memory_idle"] + grown

    def result(self) -> Contest:
        """What came of it all.

        Raises:
            LoadError: no relay has carried anything.
        """
        if not any(relay.frames for relay in self._relays):
            raise LoadError("; ".join(f"{relay.target.name}: {relay.broken}" for relay in self._relays))
        for contestant in (*self._relays, self._direct):
            _conclude(contestant)
        for name, rounds in self._direct.added.items():
            self._direct.values[f"delay_{name}"] = statistics.median(rounds)
        return Contest(contestants=[*self._relays, self._direct], usages=self._usages)

    # --- How

    def _open(self, relay: Contestant, count: int) -> None:
        with conversations(self._loop, [relay.target], 10) as led:
            lead(self._loop, led, "voice", WARM_UP_SECONDS)
        self._settle()
        self._memory_before[relay.target.name] = memory_bytes(relay.target.worker_pids)
        meter = self._meter(relay)
        relay.led = self._opened(relay, count)
        usage = meter.read()
        if count < CONVERSATIONS:  # too few to tell what one of them takes
            return
        self._settle()
        relay.values["setup_cpu"] = usage.worker / CONVERSATIONS * 1000
        relay.values["memory_idle"] = self._memory_of(relay)

    def _opened(self, contestant: Contestant, count: int) -> list[ClientConversation]:
        print(f"{contestant.target.name}: opening {count} conversations ...", file=sys.stderr, flush=True)
        return self._stack.enter_context(conversations(self._loop, [contestant.target], count))

    def _memory_of(self, relay: Contestant) -> float:
        """Kilobytes of a conversation, on average over all."""
        grown = memory_bytes(relay.target.worker_pids) - self._memory_before[relay.target.name]
        return grown / CONVERSATIONS / 1000

    def _lead(
        self, relay: Contestant, led: Sequence[ClientConversation], kind: str, seconds: float, *, counted: int
    ) -> list[Outcome]:
        """Lead all; the last `counted` of them are the relay's."""
        meter = self._meter(relay)
        outcomes = lead(self._loop, led, kind, seconds)
        usage = meter.read()
        self._usages[f"{kind.replace('_', ' ')}, {relay.target.name}"] = usage
        carried = outcomes[-counted:]
        relay.cpu[kind] += usage.worker
        relay.frames[kind] += sum(outcome.frames for outcome in carried)
        relay.seconds[kind] += seconds
        relay.frames["lost"] += sum(abs(outcome.lost) + outcome.disordered for outcome in carried)
        return outcomes

    def _meter(self, relay: Contestant) -> UsageMeter:
        return UsageMeter(upstream_pid=self._upstream_pid, worker_pids=relay.target.worker_pids)

    def _guarded(self, load: Callable[[Contestant], None], relay: Contestant) -> None:
        """Do it unless `relay` is out; a relay that loses a conversation is out, and the others go on."""
        if relay.broken is not None:
            return
        try:
            load(relay)
        except (LoadError, TimeoutError) as exc:
            relay.broken = str(exc)
            for conversation in relay.led:
                conversation.close()

    def _settle(self) -> None:
        """Let what is under way come to its end: there is no condition to ask a foreign process's memory for."""
        passed: list[bool] = []
        self._loop.at(time.monotonic() + SETTLE_SECONDS, lambda: passed.append(True))
        self._loop.run_until(lambda: bool(passed), limit_seconds=SETTLE_SECONDS * 5, what="settling")


def delays_of(outcomes: Sequence[Outcome]) -> list[float]:
    """Milliseconds, both ways."""
    return [delay / 1000 for outcome in outcomes for way in ("up", "down") for delay in outcome.delays(way)]


def _conclude(contestant: Contestant) -> None:
    for kind in ("voice", "flood_up", "flood_down"):
        frames = contestant.frames[kind]
        if frames and contestant.target.worker_pids:
            contestant.values[f"frame_cpu_{kind}"] = contestant.cpu[kind] / frames * 1e6
        if frames and kind != "voice":
            contestant.values[f"rate_{kind}"] = frames / contestant.seconds[kind]
    if contestant.target.worker_pids:
        contestant.values["lost"] = contestant.frames["lost"]
        for name, rounds in contestant.added.items():
            contestant.values[f"added_{name}"] = statistics.median(rounds)
