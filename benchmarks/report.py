"""A result for people: a table for the terminal, the same for the documents, and all goals of all loads together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.contests.contest import Load, Result
from benchmarks.goals import Row
from benchmarks.numbers import readable
from benchmarks.parts import DIRECT
from benchmarks.processes import Usage
from benchmarks.results import Record

BUSY_DIRECT_MS = 5.0
"""A direct p99 above this is scheduling, and hides what a relay adds."""


def terminal(load: Load, result: Result) -> str:
    """What a run says when it is done with a load."""
    lines = [f"## {load.title} ({load.parameters}; {_times(result.rounds)})", "", *_body(load, result)]
    return "\n".join([*lines, "", *usage_table(result.usages), ""])


def block(load: Load, record: Record) -> str:
    """The same for a document, with when and where it was measured."""
    result = record.result
    about = f"{record.when}, commit {record.commit}, {record.about['machine']}, {load.parameters}, "
    lines = [f"{about}{_times(result.rounds)}: `{record.about['command']}`", "", *_body(load, result)]
    summary = "<details><summary>CPU seconds of everybody in the last round</summary>"
    return "\n".join([*lines, "", summary, "", *usage_table(result.usages), "", "</details>", ""])


def goals(loads: Mapping[str, Load], records: Mapping[str, Record]) -> str:
    """Every goal with what was measured last, and whether it is met."""
    rows = [("load", "what", "measured", "goal", "", "commit")]
    for load in loads.values():
        record = records.get(load.name)
        for row in load.rows:
            if row.goal:
                values = record.result.values if record else {}
                measured = _measured(row, values)
                verdict = row.verdict(values) if record else "not measured"
                commit = record.commit if record else ""
                rows.append((load.title, row.title(values), measured, row.goal, verdict, commit))
    return "\n".join([*_machine(records), *table(rows)]) + "\n"


def missed(load: Load, result: Result) -> list[str]:
    """The names of the goals that the service has missed."""
    return [f"{load.name}/{row.metric}" for row in load.rows if row.is_met(result.values) is False]


def _machine(records: Mapping[str, Record]) -> list[str]:
    """On what the newest of the results was measured."""
    if not records:
        return ["Nothing was measured yet.", ""]
    newest = max(records.values(), key=lambda record: record.when)
    return [*(f"- {name}: {text}" for name, text in newest.about.items() if name != "command"), ""]


def _measured(row: Row, values: Mapping[str, Mapping[str, float]]) -> str:
    ratio = row.ratio(values)
    if row.times_nginx is not None:
        return "" if ratio is None else f"{ratio:.2f} x nginx"
    ours = values.get("service", {}).get(row.metric)
    return "" if ours is None else f"{readable(ours)} {row.unit}".rstrip()


def _body(load: Load, result: Result) -> list[str]:
    return [*_value_table(load, result), *_remarks(result), *_ladders(result)]


def _value_table(load: Load, result: Result) -> list[str]:
    names = [name for name in (*load.relays, DIRECT) if result.values.get(name)]
    rows = [("what", "unit", *names, "service / nginx", "by round", "goal", "")]
    for row in load.rows:
        if not any(row.metric in found for found in result.values.values()):
            continue
        numbers = [readable(found[row.metric]) if row.metric in found else "" for found in _of(result, names)]
        rows.append(
            (row.title(result.values), row.unit, *numbers, *_ratio(row, result), row.goal, _verdict(row, result))
        )
    return table(rows)


def _of(result: Result, names: Sequence[str]) -> Iterator[Mapping[str, float]]:
    return (result.values[name] for name in names)


def _ratio(row: Row, result: Result) -> tuple[str, str]:
    ratio = row.ratio(result.values)
    if ratio is None:
        return "", ""
    lowest, highest = result.ratio_spreads.get(row.metric, (ratio, ratio))
    return f"{ratio:.2f}", f"{lowest:.2f} to {highest:.2f}" if lowest != highest else ""


def _verdict(row: Row, result: Result) -> str:
    return row.verdict(result.values)


def _remarks(result: Result) -> list[str]:
    """What the numbers alone do not say."""
    lines = []
    if result.values.get("service", {}).get("direct_p99", 0.0) > BUSY_DIRECT_MS:
        lines += ["", "The machine was busy, as the delays without a relay show: read no p99 here."]
    for who, why in result.broken.items():
        lines += ["", f"{who} did not get to the end: {why}."]
    return lines


def _ladders(result: Result) -> list[str]:
    lines = []
    for name, steps in result.ladders.items():
        rows = [_LADDER_HEAD]
        for step in steps:
            shares = (f"{step['core'] * 100:.0f} %", f"{step['load'] * 100:.0f} %")
            numbers = (readable(step[key]) for key in ("cpu", "memory", "direct_p99", "added_p50", "added_p99"))
            rows.append((str(step["conversations"]), *shares, *numbers, step["end"]))
        lines += ["", f"**{name}**", "", *table(rows)]
    return lines


_LADDER_HEAD = (
    "conversations", "core: relay", "core: load", "CPU µs for a message", "memory kB for each",
    "direct p99 ms", "added p50 ms", "added p99 ms", "",
)  # fmt: skip


def usage_table(usages: Mapping[str, Usage]) -> list[str]:
    """What load generator, upstream, relay and all else used; a load generator must not be what is measured."""
    rows = [["CPU seconds while", "lasting s", "load generator", "fake upstream", "relay", "others"]]
    for load, usage in usages.items():
        used = (usage.seconds, usage.client, usage.upstream, usage.worker, usage.others)
        rows.append([load, *(f"{seconds:.2f}" for seconds in used)])
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """`rows`, the first of them the head, as a Markdown table; columns that are empty throughout are left out."""
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:]) or len(rows) == 1]
    cut = [[row[column] for column in kept] for row in rows]
    widths = [max(len(row[column]) for row in cut) for column in range(len(kept))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in cut
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]


def _times(rounds: int) -> str:
    return f"{rounds} round" + ("s" if rounds != 1 else "")
