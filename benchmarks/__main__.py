"""`make bench`, which is `python -m benchmarks`: measure, print, compare with before, remember."""

from __future__ import annotations

import argparse
import gc
import resource
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import cores, history, machine
from benchmarks.contests.catalogue import LOADS, LONG
from benchmarks.contests.contest import Load, Result, hold
from benchmarks.documents import make_blocks, write_blocks
from benchmarks.plot import draw_all
from benchmarks.report import missed, terminal
from benchmarks.results import Record, read_records, write_records

HISTORY = machine.ROOT / "benchmarks" / "history.csv"
RESULTS = machine.ROOT / "benchmarks" / "results.json"
DOCUMENTS = (machine.ROOT / "docs" / "performance.md", machine.ROOT / "docs" / "capacity.md")


def main(arguments: list[str] | None = None) -> int:
    """Run; the exit code is 1 if `--check` was given and a goal was missed or a cost has risen."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(f"{load.name:13} {load.title} ({load.parameters})" for load in LOADS.values()))
        return 0
    if options.compare:
        return _tell_regressions(*history.last_run(history.read_history(HISTORY)), check=options.check)
    if not Path("/proc/self/smaps_rollup").exists():
        print("Benchmarks need Linux: CPU and memory are read from /proc.", file=sys.stderr)
        return 2
    _allow_many_files()
    gc.disable()  # no pause of ours may look like one of the service
    return _measure(options, _command(arguments))


def _measure(options: argparse.Namespace, command: str) -> int:
    about = {**machine.description(), **machine.servers(), "cores": cores.description(), "command": command}
    commit, when = machine.commit(), datetime.now(UTC)
    records, past = read_records(RESULTS), history.read_history(HISTORY)
    entries: list[history.Entry] = []
    wrong: list[str] = []
    for load in _chosen(options):
        result = _held(load, options)
        wrong += missed(load, result)
        records[load.name] = Record(f"{when:%Y-%m-%d %H:%M} UTC", commit, about, result)
        if history.is_whole(load, result):
            date = when.isoformat(timespec="seconds")
            entries += history.entries_of(load, result, date=date, commit=commit, machine=about["machine"])
    history.append_history(HISTORY, entries)
    if options.document:
        write_records(RESULTS, records)
        document()
    if wrong:
        print(f"Missed: {', '.join(wrong)}.", file=sys.stderr)
    return max(_tell_regressions(past, entries, check=options.check), int(options.check and bool(wrong)))


def _held(load: Load, options: argparse.Namespace) -> Result:
    result = hold(load, options.rounds or load.rounds, options.relays)
    print(terminal(load, result), flush=True)
    gc.collect()
    return result


def document() -> None:
    """Make the documents' blocks and pictures of the results that are kept."""
    records = read_records(RESULTS)
    blocks = make_blocks(LOADS, records)
    for path in DOCUMENTS:
        write_blocks(path, blocks)
    draw_all(machine.ROOT / "docs", records)


def _tell_regressions(past: Sequence[history.Entry], now: Sequence[history.Entry], *, check: bool) -> int:
    found = history.regressions(past, now)
    for regression in found:
        print(f"Costs more than before: {regression}.", file=sys.stderr)
    return int(check and bool(found))


def _chosen(options: argparse.Namespace) -> list[Load]:
    names = options.only or [name for name in LOADS if options.all or name not in LONG]
    return [LOADS[name] for name in names]


def _allow_many_files() -> None:
    """Raise our limit of open files, which our children inherit: a worker has two sockets for each conversation."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _command(arguments: list[str] | None) -> str:
    return " ".join(["python -m benchmarks", *(sys.argv[1:] if arguments is None else arguments)])


def _loads(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in LOADS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no load is called {', '.join(unknown)}; there are {', '.join(LOADS)}")
    return names


def _names(text: str) -> list[str]:
    return text.split(",")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the service adds.")
    parser.add_argument("--only", type=_loads, metavar="LOAD[,LOAD]", help="measure only these (see --list)")
    parser.add_argument("--all", action="store_true", help="also the loads that take many minutes")
    parser.add_argument("--relays", type=_names, metavar="RELAY[,RELAY]", help="only these: service,nginx")
    parser.add_argument("--rounds", type=int, help="so often; a run with fewer than usual is not remembered")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed or a cost has risen")
    parser.add_argument(
        "--compare", action="store_true", help="measure nothing, compare the last run with those before"
    )
    parser.add_argument("--document", action="store_true", help="put the results into docs/")
    parser.add_argument("--list", action="store_true", help="list the loads")
    parser.add_argument("--peers", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
