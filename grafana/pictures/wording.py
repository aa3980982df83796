"""Numbers and labels as Grafana writes them: by unit, with few digits, and words where a panel has words for them.

The key decision: only the units of `specification.Unit` are known; a panel with another one is an error and not a bare
number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_SECONDS = ((31_536_000, "y"), (86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"), (1e-6, "µs"))
_COUNTS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
_SUFFIXES = {"short": "", "none": "", "ops": "/s", "cpm": "/min", "suffix:x": "x"}
_ROUNDED_UP = 0.9995
"""From there on three digits round to the next unit."""

_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_COLOURS = {"green": "#73bf69", "blue": "#5794f2", "orange": "#ff9830", "red": "#f2495c"}


def number(value: float, unit: str, decimals: int | None = None) -> str:
    """`value` with its unit.

    Raises:
        KeyError: the unit is none of ours.
    """
    if math.isnan(value):
        return "no data"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit == "s":
        return _scaled(value, _SECONDS, decimals)
    if unit == "percentunit":
        return f"{_digits(value * 100, decimals)} %"
    suffix = _SUFFIXES[unit]
    return (
        f"{_scaled(value, _COUNTS, decimals)}{suffix}" if abs(value) >= 1e3 else f"{_digits(value, decimals)}{suffix}"
    )


def legend(pattern: str, labels: Mapping[str, str]) -> str:
    """A series' name as the panel's pattern has it; without one, its labels."""
    if not pattern:
        return ", ".join(f"{name}={label}" for name, label in labels.items())
    return _LABEL.sub(lambda found: labels.get(found[1], ""), pattern)


def word(value: float, mappings: Sequence[Mapping[str, Any]]) -> tuple[str, str] | None:
    """The text and the colour that a panel has for a number; None if it has none."""
    for mapping in mappings:
        bounds = mapping["options"]
        least, most = bounds.get("from"), bounds.get("to")
        if (least is None or value >= least) and (most is None or value <= most):
            result = bounds["result"]
            return result["text"], _COLOURS[result["color"]]
    return None


def colour(value: float, steps: Sequence[Mapping[str, Any]]) -> str:
    """The colour that the thresholds give a number."""
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return _COLOURS[reached[-1]] if reached else _COLOURS["blue"]


def _scaled(value: float, scales: Sequence[tuple[float, str]], decimals: int | None) -> str:
    for scale, name in scales:
        if abs(value) >= scale * _ROUNDED_UP:
            return f"{_digits(value / scale, decimals)} {name}"
    return f"{_digits(value, decimals)}{' ' + scales[-1][1] if scales is _SECONDS and value else ''}"


def _digits(value: float, decimals: int | None) -> str:
    return f"{value:.{decimals}f}" if decimals is not None else f"{value:.3g}"
