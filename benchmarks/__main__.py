"""`make bench`, which is `python -m benchmarks`: measure, print, remember."""

from __future__ import annotations

import argparse
import gc
import resource
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.measurements import LOADS, Run, measure
from benchmarks.metrics import collect
from benchmarks.peers import capacity, comparison, contest
from benchmarks.plot import draw_delays
from benchmarks.report import append_history, replace_block, report

HISTORY = machine.ROOT / "benchmarks" / "history.csv"
DOCUMENT = machine.ROOT / "docs" / "performance.md"
CAPACITY_DOCUMENT = machine.ROOT / "docs" / "capacity.md"
PICTURE = machine.ROOT / "docs" / "performance-delay.svg"


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 1 if a goal was missed and `--check` was given."""
    options = _parser().parse_args(arguments)
    if not Path("/proc/self/smaps_rollup").exists():
        print("Benchmarks need Linux: CPU and memory are read from /proc.", file=sys.stderr)
        return 2
    _allow_many_files()
    gc.disable()  # no pause of ours may look like one of the service
    about = {"commit": machine.commit(), **machine.description(), "command": _command(arguments)}
    if options.capacity:
        return _climb(options, about)
    return _compare(options, about) if options.peers else _measure_service(options, about)


def _measure_service(options: argparse.Namespace, about: Mapping[str, str]) -> int:
    """The service beside nothing at all."""
    when = datetime.now(UTC)
    runs = [_measure(number, options.runs, options.loads) for number in range(1, options.runs + 1)]
    values = collect([run.values for run in runs])
    text = report(values, runs[-1].usages, about=about, runs=len(runs), when=when)
    print(text)
    medians = {value.metric.name: value.median for value in values}
    append_history(HISTORY, medians, commit=about["commit"], when=when)
    if options.document:
        replace_block(DOCUMENT, "bench", text)
    if options.document and runs[0].delays:
        draw_delays(PICTURE, _pooled(runs))
    return _verdict([value.metric.name for value in values if not value.is_met], options)


def _compare(options: argparse.Namespace, about: Mapping[str, str]) -> int:
    """The service beside other relays."""
    when = datetime.now(UTC)
    rounds = options.rounds or options.runs * contest.ROUNDS
    held = contest.hold(rounds, loads=options.only or contest.LOADS, relays=options.relays)
    text = comparison.report(held, about={**about, **machine.servers()}, rounds=rounds, when=when)
    print(text)
    if not (options.only or options.relays):  # a part of a comparison is none to be remembered
        append_history(HISTORY, comparison.history(held), commit=about["commit"], when=when)
    if options.document:
        replace_block(DOCUMENT, "peers", text)
    return _verdict(comparison.missed(held), options)


def _climb(options: argparse.Namespace, about: Mapping[str, str]) -> int:
    """More and more conversations, until it is too much."""
    when = datetime.now(UTC)
    ladders = {name: capacity.climb(name) for name in capacity.RELAYS}
    text = capacity.report(ladders, about={**about, **machine.servers()}, when=when)
    print(text)
    append_history(HISTORY, capacity.history(ladders), commit=about["commit"], when=when)
    if options.document:
        replace_block(CAPACITY_DOCUMENT, "capacity", text)
    return 0


def _measure(number: int, count: int, loads: Sequence[str]) -> Run:
    print(f"Run {number} of {count} ({', '.join(loads)}), at most some 90 s ...", file=sys.stderr, flush=True)
    run = measure(loads)
    gc.collect()
    return run


def _pooled(runs: list[Run]) -> dict[tuple[str, str], list[float]]:
    return {key: [delay for run in runs for delay in run.delays[key]] for key in runs[0].delays}


def _verdict(missed: Sequence[str], options: argparse.Namespace) -> int:
    """The exit code."""
    if missed and options.check:
        print(f"Missed: {', '.join(missed)}.", file=sys.stderr)
        return 1
    return 0


def _allow_many_files() -> None:
    """Raise our limit of open files, which our children inherit: 500 conversations are 1000 sockets of a worker."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _command(arguments: list[str] | None) -> str:
    return " ".join(["python -m benchmarks", *(sys.argv[1:] if arguments is None else arguments)])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the service adds.")
    parser.add_argument("--runs", type=int, default=1, help="measure so many times and report the medians")
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=LOADS, help="measure only these")
    parser.add_argument("--peers", action="store_true", help="compare with nginx and other relays, some four minutes")
    parser.add_argument("--capacity", action="store_true", help="add conversations until a worker is too slow")
    parser.add_argument("--only", type=_names, help="of the comparison, only these loads: voice,flood")
    parser.add_argument("--relays", type=_names, help="of the comparison, only these relays: service,nginx")
    parser.add_argument("--rounds", type=int, help="rounds of the comparison")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    parser.add_argument("--document", action="store_true", help="put the result into docs/")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


if __name__ == "__main__":
    sys.exit(main())
