"""A contest: one load, given to each relay in turn, round after round.

The key decision: rounds are short and their order changes, so that whatever the machine does besides falls on all of
them. A relay that breaks is out, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.contests.field import Field, say
from benchmarks.generator.conversation_load import LoadError
from benchmarks.generator.targets import Target
from benchmarks.goals import MEASURE, OURS, Row
from benchmarks.numbers import Reading, combine
from benchmarks.parts import ONE_SERVICE, running_parts
from benchmarks.processes import Usage

ROUNDS = 5

Readings = Mapping[str, Reading]


@dataclass(frozen=True)
class Load:
    """One question: who is asked, how, and what the answers have to be.

    `turn(field, relay)` puts it to one relay once; `prepare(field)` finds out beforehand what is to be known.
    `parameters` says what the numbers depend on: two runs are comparable if it is the same. `rounds` is how often the
    relays take turns unless somebody asks for less. `services` are the settings of each service among the relays, by
    name; an upstream over TLS is `round_trip_ms` away.
    """

    name: str
    title: str
    parameters: str
    relays: Sequence[str]
    rows: Sequence[Row]
    turn: Callable[[Field, Target], Readings]
    prepare: Callable[[Field], None] | None = None
    over_tls: bool = False
    with_direct: bool = False
    services: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: ONE_SERVICE)
    round_trip_ms: float = 0.0
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Result:
    """What came of a load: `values` by relay and metric, `spreads` the lowest and highest of a round.

    `ratio_spreads` are those of the service's number over nginx's; `broken` tells of the relays that did not get to
    the end, `usages` the CPU of everybody in the last round, `ladders` the steps of a load that climbs, by relay.
    """

    load: str
    rounds: int
    values: Mapping[str, Mapping[str, float]]
    ratio_spreads: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    usages: Mapping[str, Usage] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    ladders: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)


def hold(load: Load, rounds: int, relays: Collection[str] | None = None) -> Result:
    """Put `load` to all its relays that are installed, or to those named, so many times."""
    names = [name for name in load.relays if relays is None or name in relays]
    say(f"{load.name}: starting {', '.join(names)}")
    with (
        running_parts(names, over_tls=load.over_tls, services=load.services, round_trip_ms=load.round_trip_ms) as parts,
        Field(parts) as arena,
    ):
        contest = _Contest(load, arena)
        contest.guarded(contest.warm_up, parts.relays)
        if load.prepare is not None:
            load.prepare(arena)
        for number in range(rounds):
            say(f"{load.name}: round {number + 1} of {rounds}")
            contest.take_turns(number)
        return contest.result(rounds)


class _Contest:
    def __init__(self, load: Load, arena: Field) -> None:
        self._load = load
        self._field = arena
        self._readings: dict[str, list[Readings]] = {relay.name: [] for relay in arena.parts.relays}
        self._broken: dict[str, str] = {}

    def warm_up(self, relay: Target) -> None:
        """Let nobody's first conversation be measured."""
        self._field.warm_up(relay)

    def take_turns(self, number: int) -> None:
        """One round, beginning with another relay each time."""
        relays = self._field.parts.relays
        start = number % max(1, len(relays))
        self.guarded(self._turn, (*relays[start:], *relays[:start]))
        if self._load.with_direct:
            self.guarded(self._turn, (self._field.parts.direct,))

    def guarded(self, action: Callable[[Target], None], relays: Sequence[Target]) -> None:
        """Do it with each that is not out; one that loses a conversation is."""
        for relay in relays:
            if relay.name in self._broken:
                continue
            try:
                action(relay)
            except (LoadError, TimeoutError, OSError) as exc:
                self._broken[relay.name] = str(exc)
                self._field.hang_up(relay.name)

    def result(self, rounds: int) -> Result:
        """What came of it."""
        values = {name: combine(readings) for name, readings in self._readings.items()}
        return Result(
            load=self._load.name,
            rounds=rounds,
            values=values,
            ratio_spreads=_ratio_spreads(self._readings),
            usages=self._field.usages,
            broken=self._broken,
            ladders={name: [asdict(step) for step in steps] for name, steps in self._field.ladders.items()},
        )

    def _turn(self, relay: Target) -> None:
        self._readings.setdefault(relay.name, []).append(self._load.turn(self._field, relay))


def _ratio_spreads(readings: Mapping[str, Sequence[Readings]]) -> dict[str, tuple[float, float]]:
    """Of each metric, the lowest and the highest of the rounds' ratios of the service to nginx."""
    ours, theirs = ([combine([one]) for one in readings.get(name, ())] for name in (OURS, MEASURE))
    ratios: dict[str, list[float]] = {}
    for mine, other in zip(ours, theirs, strict=False):
        for name in mine.keys() & other.keys():
            if other[name] > 0:
                ratios.setdefault(name, []).append(mine[name] / other[name])
    return {name: (min(found), max(found)) for name, found in sorted(ratios.items())}
