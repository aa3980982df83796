"""The picture of the delays: how large a share of the messages took longer than so many milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

POINTS = 300
"""Of each curve: what the eye can tell apart, in a file that a diff can hold."""

_COLOURS = {"direct": "#8a8f98", "service": "#1f6feb"}
_LINES = {"up": "-", "down": "--"}
_READABLE = {"up": "client to agent", "down": "agent to client"}


def draw_delays(path: Path, delays: Mapping[tuple[str, str], Sequence[float]]) -> None:
    """Draw `delays` (ms, by target and direction) into an SVG file; the same numbers give the same file."""
    with mpl.rc_context({"svg.hashsalt": "vocero", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        for (target, direction), values in delays.items():
            shares, ranked = _tail(values)
            label = f"{target}, {_READABLE[direction]}"
            axes.plot(ranked, shares, _LINES[direction], color=_COLOURS.get(target), label=label, linewidth=1.4)
        axes.set(xscale="log", yscale="log", xlabel="milliseconds", ylabel="% of audio messages that took longer")
        axes.set_title("Delay of an audio message, 50 voice conversations on one worker", fontsize=11)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})


def _tail(values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Per cent, evenly spread on a logarithmic scale down to one message, and the delays that so many exceed."""
    ranked = sorted(values, reverse=True)
    exceeded = [round(len(ranked) ** (1 - step / POINTS)) for step in range(POINTS + 1)]
    return [100 * count / len(ranked) for count in exceeded], [ranked[count - 1] for count in exceeded]
