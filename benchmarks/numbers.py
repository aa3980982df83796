"""Numbers of rounds, and the one number that stands for them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Pooled:
    """So much of something for so many of another: summed over the rounds, then divided."""

    amount: float
    count: float


@dataclass(frozen=True)
class Total:
    """Counted together over the rounds."""

    amount: float


Reading = float | Pooled | Total
"""One round's number; plain ones stand for themselves, and their median for all: one bad moment does not count."""


def combine(rounds: Sequence[Mapping[str, Reading]]) -> dict[str, float]:
    """One number for each that any round has; nothing for what was pooled over nothing."""
    names = dict.fromkeys(name for readings in rounds for name in readings)
    found = {name: _combined([readings[name] for readings in rounds if name in readings]) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _combined(readings: Sequence[Reading]) -> float | None:
    pooled = [one for one in readings if isinstance(one, Pooled)]
    if pooled:
        count = sum(one.count for one in pooled)
        return sum(one.amount for one in pooled) / count if count else None
    totals = [one for one in readings if isinstance(one, Total)]
    if totals:
        return sum(one.amount for one in totals)
    return statistics.median(one for one in readings if isinstance(one, float | int))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed."""
    ranked = sorted(values)
    return ranked[max(1, math.ceil(share * len(ranked))) - 1]


def readable(value: float) -> str:
    """`value` with as many digits as mean something."""
    return f"{value:.0f}" if abs(value) >= 1000 or value == 0 else f"{value:.3g}"
