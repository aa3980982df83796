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
_BEGIN, _END = "<!-- bench: begin -->", "<!-- bench: end -->"


def report(
    values: Sequence[Value], usages: Mapping[str, Usage], *, about: Mapping[str, str], runs: int, when: datetime
) -> str:
    """The tables, in Markdown that is also good to read as it is."""
    facts = {"date": f"{when:%Y-%m-%d %H:%M} UTC", **about, "runs": str(runs)}
    lines = [f"- {name}: {text}" for name, text in facts.items()]
    return "\n".join([*lines, "", *_value_table(values), "", *_usage_table(usages), *_warnings(values)]) + "\n"


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
        spread = f"{_number(min(value.values))} to {_number(max(value.values))}" if len(value.values) > 1 else ""
        rows.append((value.metric.meaning, _number(value.median), spread, value.metric.unit, goal, verdict))
    return _table(rows)


def _usage_table(usages: Mapping[str, Usage]) -> list[str]:
    rows = [["CPU seconds while (last run)", "lasting s", "load generator", "fake upstream", "service", "others"]]
    for load, usage in usages.items():
        used = (usage.seconds, usage.client, usage.upstream, usage.worker, usage.others)
        rows.append([load, *(f"{seconds:.2f}" for seconds in used)])
    return _table(rows)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 or value == 0 else f"{value:.3g}"


def append_history(path: Path, values: Sequence[Value], *, commit: str, when: datetime) -> None:
    """Add a line for each metric's median."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(HISTORY_COLUMNS)
        for value in values:
            writer.writerow((when.isoformat(timespec="seconds"), commit, value.metric.name, f"{value.median:.4g}"))


def replace_block(path: Path, text: str) -> None:
    """Put `text` between the marks in the document at `path`.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = path.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{path} has no {_BEGIN} and {_END}")
    path.write_text(f"{before}{_BEGIN}\n{text}{_END}{after}")
