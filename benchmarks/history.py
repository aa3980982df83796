"""What was measured before, in `history.csv`, and whether a cost has risen since.

The key decision: ratios are compared, never microseconds. How fast a machine is changes from day to day; what a message
costs the service, as so many times what it costs nginx in the same run (or load generator and upstream by themselves),
does not. Only runs on the same kind of machine, of the same load with the same parameters, are compared.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from benchmarks.contests.contest import Load, Result
from benchmarks.goals import MEASURE, OURS
from benchmarks.parts import DIRECT

COMPARED_RUNS = 5
"""The last so many are what a run is compared with (their median)."""

FEWEST_RUNS = 3
"""With fewer before it nothing is said about a run: one odd run would be the measure of all."""

WORSE = 1.10
RATIO_TO_NGINX, RATIO_TO_LOAD = "_over_nginx", "_over_load"
_RATIOS = (RATIO_TO_NGINX, RATIO_TO_LOAD)


@dataclass(frozen=True)
class Entry:
    """One number of one run; `machine` and `parameters` say what it may be compared with."""

    date: str
    commit: str
    machine: str
    load: str
    parameters: str
    metric: str
    value: float

    @property
    def is_cost(self) -> bool:
        """Whether it is a ratio of CPU, which a change must not raise."""
        return "cpu" in self.metric and self.metric.endswith(_RATIOS)

    def is_comparable(self, other: Entry) -> bool:
        """Whether both are the same number of the same load on the same kind of machine."""
        ours, theirs = ((one.machine, one.load, one.parameters, one.metric) for one in (self, other))
        return ours == theirs


@dataclass(frozen=True)
class Regression:
    """A cost that has risen: `median` is that of the `runs` before."""

    entry: Entry
    median: float
    runs: int

    def __str__(self) -> str:
        risen = (self.entry.value / self.median - 1) * 100
        name = f"{self.entry.load}/{self.entry.metric}"
        return f"{name}: {self.entry.value:.3g}, {risen:.0f} % above {self.median:.3g}, the median of {self.runs} runs"


def entries_of(load: Load, result: Result, *, date: str, commit: str, machine: str) -> list[Entry]:
    """What is remembered of a result: every number, and the ratios."""
    found = {f"{name}_{who}": value for who, values in result.values.items() for name, value in values.items()}
    found |= ratios(load, result.values)
    return [Entry(date, commit, machine, load.name, load.parameters, name, value) for name, value in found.items()]


def ratios(load: Load, values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Of each row, the service's number over nginx's; of a flood's CPU also over the load's own without a relay."""
    found = {f"{row.metric}{RATIO_TO_NGINX}": row.ratio(values) for row in load.rows}
    for name, own in values.get(DIRECT, {}).items():
        ours = values.get(OURS, {}).get(f"cpu_{name.removeprefix('own_')}") if name.startswith("own_") else None
        if ours is not None and own > 0:
            found[f"cpu_{name.removeprefix('own_')}{RATIO_TO_LOAD}"] = ours / own
    return {name: ratio for name, ratio in found.items() if ratio is not None}


def is_whole(load: Load, result: Result) -> bool:
    """Whether a result is worth remembering: all rounds, and the service and what it is measured by got through."""
    wanted = {OURS, MEASURE} & set(load.relays)
    return result.rounds >= load.rounds and wanted <= result.values.keys() and not wanted & result.broken.keys()


def regressions(past: Sequence[Entry], now: Iterable[Entry]) -> list[Regression]:
    """The costs in `now` that are 10 % above the median of the last comparable runs in `past` (oldest first)."""
    found = []
    for entry in now:
        before = [one.value for one in past if one.is_comparable(entry)][-COMPARED_RUNS:] if entry.is_cost else []
        if len(before) >= FEWEST_RUNS and entry.value > WORSE * statistics.median(before):
            found.append(Regression(entry, statistics.median(before), len(before)))
    return found


def last_run(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry]]:
    """What was before the last run of each load, and these last runs."""
    newest = {entry.load: entry.date for entry in entries}
    before = [entry for entry in entries if entry.date != newest[entry.load]]
    return before, [entry for entry in entries if entry.date == newest[entry.load]]


def read_history(path: Path) -> list[Entry]:
    """All entries, oldest first; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [_entry(row) for row in csv.DictReader(file)]


def _entry(row: Mapping[str, str]) -> Entry:
    texts = {name: row[name] for name in ("date", "commit", "machine", "load", "parameters", "metric")}
    return Entry(**texts, value=float(row["value"]))


def append_history(path: Path, entries: Iterable[Entry]) -> None:
    """Add a line for each."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [one.name for one in fields(Entry)], lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows({**asdict(entry), "value": f"{entry.value:.4g}"} for entry in entries)
