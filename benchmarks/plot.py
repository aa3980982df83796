"""The picture of the delays: how large a share of the messages took longer than so many milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

_COLOURS = {"direct": "#8a8f98", "service": "#1f6feb"}
_LINES = {"up": "-", "down": "--"}
_READABLE = {"up": "client to agent", "down": "agent to client"}


def draw_delays(path: Path, delays: Mapping[tuple[str, str], Sequence[float]]) -> None:
    """Draw `delays` (ms, by target and direction) into an SVG file; the same numbers give the same file."""
    with mpl.rc_context({"svg.hashsalt": "vocero", "svg.fonttype": "none", "font.size": 10}):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        for (target, direction), values in delays.items():
            ranked = sorted(values)
            shares = [100 * (len(ranked) - index) / len(ranked) for index in range(len(ranked))]
            label = f"{target}, {_READABLE[direction]}"
            axes.step(ranked, shares, _LINES[direction], color=_COLOURS.get(target), label=label, linewidth=1.4)
        axes.set(xscale="log", yscale="log", xlabel="milliseconds", ylabel="% of audio messages that took longer")
        axes.set_title("Delay of an audio message, 50 voice conversations on one worker", fontsize=11)
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None})
