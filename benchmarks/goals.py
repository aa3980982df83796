"""A row of a result: what a number means, and what the service's may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.numbers import readable

OURS, MEASURE = "service", "nginx"

Values = Mapping[str, Mapping[str, float]]
"""By relay and metric."""


@dataclass(frozen=True)
class Row:
    """A metric of a load. A goal is a bound of its own, or so many times nginx's number of the same run.

    `meaning` may name other metrics of the service in braces, to say what was found out only in the run.
    """

    metric: str
    unit: str
    meaning: str
    at_most: float | None = None
    at_least: float | None = None
    times_nginx: float | None = None

    @property
    def goal(self) -> str:
        """For people; empty without one."""
        if self.times_nginx is not None:
            return f"at most {self.times_nginx:g} x nginx"
        if self.at_least is not None:
            return f"at least {readable(self.at_least)}"
        return "" if self.at_most is None else f"at most {self.at_most:g} {self.unit}".rstrip()

    def title(self, values: Values) -> str:
        """`meaning` with what the run found out."""
        found = {name: f"{value:.0f}" for name, value in values.get(OURS, {}).items()}
        return self.meaning.format_map(_Unknown(found))

    def is_met(self, values: Values) -> bool | None:
        """Whether the service is good enough; None: there is no goal, or not enough was measured to tell."""
        ours = values.get(OURS, {}).get(self.metric)
        if self.times_nginx is not None:
            ratio = self.ratio(values)
            return None if ratio is None else ratio <= self.times_nginx
        if ours is None or (self.at_most is None and self.at_least is None):
            return None
        return (self.at_most is None or ours <= self.at_most) and (self.at_least is None or ours >= self.at_least)

    def verdict(self, values: Values) -> str:
        """For people: met, MISSED, or that a goal could not be judged."""
        is_met = self.is_met(values)
        if is_met is None:
            return "not measured" if self.goal else ""
        return "met" if is_met else "MISSED"

    def ratio(self, values: Values) -> float | None:
        """The service's number over nginx's; None: one of them was not measured, or cannot be divided by."""
        ours, theirs = (values.get(who, {}).get(self.metric) for who in (OURS, MEASURE))
        return ours / theirs if ours is not None and theirs is not None and theirs > 0 else None


class _Unknown(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"
