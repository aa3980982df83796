"""The numbers of a contest side by side, against the goals: a table for people and lines for the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from benchmarks.peers.contest import BUSY_DIRECT_MS, VOICE_CONVERSATIONS, Contest
from benchmarks.report import number, table, usage_table

OURS, MEASURE = "service", "nginx"


@dataclass(frozen=True)
class Comparison:
    """A row: what the service may be at most, as a number of its own or as so many times nginx's."""

    name: str
    unit: str
    meaning: str
    at_most: float | None = None
    times_nginx: float | None = None

    @property
    def goal(self) -> str:
        """For people."""
        if self.times_nginx is not None:
            return f"{self.times_nginx:g} x nginx"
        return "" if self.at_most is None else f"{self.at_most:g} {self.unit}"

    def is_met(self, values: Mapping[str, Mapping[str, float]]) -> bool | None:
        """Whether the service is good enough; None: there is no goal, or not enough was measured to tell."""
        ours, ratio = values.get(OURS, {}).get(self.name), self.ratio(values)
        if self.times_nginx is not None and ratio is not None:
            return ratio <= self.times_nginx
        if self.at_most is not None and ours is not None:
            return ours <= self.at_most
        return None

    def ratio(self, values: Mapping[str, Mapping[str, float]]) -> float | None:
        """The service's number over nginx's; None: one of them was not measured, or cannot be divided by."""
        ours, theirs = (values.get(who, {}).get(self.name) for who in (OURS, MEASURE))
        return ours / theirs if ours is not None and theirs is not None and theirs > 0 else None


COMPARISONS: Sequence[Comparison] = (
    Comparison("frame_cpu_flood_up", "µs", "**CPU for a message**, flood, client to agent", times_nginx=1.5),
    Comparison("frame_cpu_flood_down", "µs", "**CPU for a message**, flood, agent to client", times_nginx=1.5),
    Comparison(
        "frame_cpu_voice", "µs", f"**CPU for a message**, {VOICE_CONVERSATIONS} at voice rate", times_nginx=1.15
    ),
    Comparison("added_p50", "ms", f"added delay p50, {VOICE_CONVERSATIONS} at voice rate", at_most=0.06),
    Comparison("added_p99", "ms", f"added delay p99, {VOICE_CONVERSATIONS} at voice rate", at_most=0.5),
    Comparison("memory_idle", "kB", "memory of an idle conversation", at_most=35),
    Comparison("memory_active", "kB", "memory of a conversation after its talk", at_most=35),
    Comparison("setup_cpu", "ms", "CPU to open a conversation", at_most=0.6),
    Comparison("rate_flood_up", "1/s", "messages of a flood, client to agent"),
    Comparison("rate_flood_down", "1/s", "messages of a flood, agent to client"),
    Comparison("lost", "messages", "lost or out of turn", at_most=0),
)


def missed(contest: Contest) -> list[str]:
    """The names of the goals that the service has missed."""
    return [one.name for one in COMPARISONS if one.is_met(contest.values) is False]


def report(contest: Contest, *, about: Mapping[str, str], rounds: int, when: datetime) -> str:
    """The tables, in Markdown that is also good to read as it is."""
    facts = {"date": f"{when:%Y-%m-%d %H:%M} UTC", **about, "rounds": str(rounds)}
    lines = [f"- {name}: {text}" for name, text in facts.items()]
    usages = usage_table(contest.usages, worker="relay")
    return "\n".join([*lines, "", *_comparison_table(contest), *_remarks(contest), "", *usages]) + "\n"


def history(contest: Contest) -> dict[str, float]:
    """What is remembered: every number, and the ratios to nginx, which another machine can be compared with."""
    found = {f"peers_{name}_{who}": value for who, values in contest.values.items() for name, value in values.items()}
    ratios = {one.name: one.ratio(contest.values) for one in COMPARISONS}
    return {**found, **{f"peers_{name}_over_nginx": ratio for name, ratio in ratios.items() if ratio is not None}}


def _comparison_table(contest: Contest) -> list[str]:
    values = contest.values
    rows = [("what", "unit", *values, "service / nginx", "goal: at most", "")]
    for one in COMPARISONS:
        if not any(one.name in found for found in values.values()):
            continue
        numbers = [number(found[one.name]) if one.name in found else "" for found in values.values()]
        ratio, is_met = one.ratio(values), one.is_met(values)
        verdict = "" if is_met is None else "met" if is_met else "MISSED"
        rows.append((one.meaning, one.unit, *numbers, "" if ratio is None else f"{ratio:.2f}", one.goal, verdict))
    return table(rows)


def _remarks(contest: Contest) -> list[str]:
    """What the numbers alone do not say."""
    lines: list[str] = []
    if "delay_p50" in contest.values["direct"]:
        half, most = (contest.values["direct"][f"delay_{name}"] for name in ("p50", "p99"))
        lines += [
            "",
            f"Without a relay, at the same time, a message took {number(half)} ms (p50), {number(most)} ms (p99).",
        ]
        if most > BUSY_DIRECT_MS:
            lines += ["", "The machine was busy: read no p99 here."]
    for who, why in contest.broken.items():
        lines += ["", f"{who} did not get to the end: {why}."]
    return lines
