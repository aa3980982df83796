"""What a dashboard of ours is made of: boards of rows of panels of queries, as frozen values without any of Grafana's.

The key decision: a board says what is asked and how it is read (unit, thresholds, words), and nothing of how Grafana
writes it; that is `frame.py` alone. So a panel without a unit or a description cannot be written down at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

COLUMNS = 24
"""Of Grafana's grid."""


class Unit(StrEnum):
    """What an axis or a number counts, in Grafana's words."""

    SECONDS = "s"
    SHARE = "percentunit"  # 0 to 1, shown as 0 % to 100 %
    COUNT = "short"
    PER_SECOND = "ops"
    PER_MINUTE = "cpm"
    TIMES = "suffix:x"  # how many times as fast as planned
    SCORE = "none"


class Kind(StrEnum):
    """How a panel shows its numbers; the values are Grafana's names of the plugins."""

    LINES = "timeseries"
    NUMBER = "stat"
    STATES = "state-timeline"
    SPREAD = "heatmap"
    TABLE = "table"


class Colour(StrEnum):
    """A colour that says how bad something is."""

    GOOD = "green"
    NOTE = "blue"
    WARNING = "orange"
    BAD = "red"


@dataclass(frozen=True)
class Query:
    """A question to Prometheus; `legend` has its labels as `{{label}}`."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Step:
    """From `value` on, in the panel's unit, what is shown has this colour; None: from the beginning."""

    value: float | None
    colour: Colour


@dataclass(frozen=True)
class Word:
    """What is shown instead of the numbers from `least` to `most` (both included; None: without end)."""

    least: float
    most: float | None
    text: str
    colour: Colour


@dataclass(frozen=True)
class Panel:
    """One panel. `width` is in columns of 24, `height` in rows of 30 pixels.

    `runbook` is a heading's anchor in docs/runbooks.md: what to do if this looks wrong. `stacked`: the lines are parts
    of a whole. `many`: the legend is a table with the last value and the highest.
    """

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    width: int = 8
    height: int = 8
    steps: tuple[Step, ...] = ()
    words: tuple[Word, ...] = ()
    least: float | None = 0
    most: float | None = None
    decimals: int | None = None
    stacked: bool = False
    many: bool = False
    runbook: str | None = None


@dataclass(frozen=True)
class Row:
    """A heading and the panels below it, from left to right."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Board:
    """A dashboard. `uid` is its address in Grafana and never changes; its file has the same name."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]

    def panels(self) -> Iterator[Panel]:
        """Every panel, from the top."""
        for row in self.rows:
            yield from row.panels


def at_most(bad: float, warning: float | None = None) -> tuple[Step, ...]:
    """Thresholds for what should be small: from `warning` on orange, from `bad` on red."""
    middle = () if warning is None else (Step(warning, Colour.WARNING),)
    return (Step(None, Colour.GOOD), *middle, Step(bad, Colour.BAD))


def at_least(good: float, warning: float) -> tuple[Step, ...]:
    """Thresholds for what should be large: below `warning` red, below `good` orange."""
    return (Step(None, Colour.BAD), Step(warning, Colour.WARNING), Step(good, Colour.GOOD))
