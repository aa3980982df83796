"""Results for people: a table on the terminal, the same in `docs/performance.md`, a line a metric in `history.csv`."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.metrics import Value
from benchmarks.processes import Usage

HISTORY_COLUMNS = ("date", "commit", "metric", "value")
BUSY_MACHINE_MS = 5.0
"""Direct delays above this at p99 are scheduling, and hide what a service adds."""

_DIRECT_P99 = frozenset({"audio_up_direct_p99", "audio_down_direct_p99"})


def report(
    values: Sequence[Value], usages: Mapping[str, Usage], *, about: Mapping[str, str], runs: int, when: datetime
) -> str:
    """The tables, in Markdown that is also good to read as it is."""
    facts = {"date": f"{when:%Y-%m-%d %H:%M} UTC", **about, "runs": str(runs)}
    lines = [f"- {name}: {text}" for name, text in facts.items()]
    return "\n".join([*lines, "", *_value_table(values), "", *usage_table(usages), *_warnings(values)]) + "\n"


def _warnings(values: Sequence[Value]) -> list[str]:
    """What keeps these numbers from being worth much."""
    worst = max((value.median for value in values if value.metric.name in _DIRECT_P99), default=0.0)
    if worst < BUSY_MACHINE_MS:
        return []
    return ["", f"The machine was busy: without any service between, p99 was {worst:.0f} ms. Read no p99 here."]


def _value_table(values: Sequence[Value]) -> list[str]:
    rows = [("what", "median", "lowest to highest", "unit", "goal", "")]
    for value in values:
        goal = "" if value.metric.goal is None else f"< {value.metric.goal:g}" if value.metric.goal else "0"
        verdict = "" if not goal else "met" if value.is_met else "MISSED"
        spread = f"{number(min(value.values))} to {number(max(value.values))}" if len(value.values) > 1 else ""
        rows.append((value.metric.meaning, number(value.median), spread, value.metric.unit, goal, verdict))
    return table(rows)


def usage_table(usages: Mapping[str, Usage], *, worker: str = "service") -> list[str]:
    """What load generator, upstream, `worker` and all else used; a load generator must not be what is measured."""
    rows = [["CPU seconds while (last run)", "lasting s", "load generator", "fake upstream", worker, "others"]]
    for load, usage in usages.items():
        used = (usage.seconds, usage.client, usage.upstream, usage.worker, usage.others)
        rows.append([load, *(f"{seconds:.2f}" for seconds in used)])
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """`rows`, the first of them the head, as a Markdown table."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]


def number(value: float) -> str:
    """`value` with as many digits as mean something."""
    return f"{value:.0f}" if abs(value) >= 1000 or value == 0 else f"{value:.3g}"


def append_history(path: Path, values: Mapping[str, float], *, commit: str, when: datetime) -> None:
    """Add a line for each metric."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(HISTORY_COLUMNS)
        for name, value in values.items():
            writer.writerow((when.isoformat(timespec="seconds"), commit, name, f"{value:.4g}"))


def replace_block(path: Path, block: str, text: str) -> None:
    """Put `text` between the marks of `block` in the document at `path`.

    Raises:
        ValueError: the marks are not there.
    """
    begins, ends = f"<!-- {block}: begin -->", f"<!-- {block}: end -->"
    before, begin, rest = path.read_text().partition(begins)
    _, end, after = rest.partition(ends)
    if not begin or not end:
        raise ValueError(f"{path} has no {begins} and {ends}")
    path.write_text(f"{before}{begins}\n{text}{ends}{after}")
