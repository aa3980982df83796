"""The pictures in docs/: what a message costs, what it waits, what a conversation takes, how many one core carries.

The key decision: a picture is made of `results.json` alone, and the same numbers give the same file. A picture that
stands in a page as an image knows nothing of the page's colours, so each has a background of its own; where the
reader's system is dark, a style in the file exchanges the colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benchmarks.contests import capacity, flood, half_load, opening, pieces, voice
from benchmarks.contests.catalogue import LOADS
from benchmarks.goals import MEASURE, OURS
from benchmarks.numbers import readable
from benchmarks.results import Record

Records = Mapping[str, Record]

_PAPER, _INK, _LINE = "#fefefe", "#24292e", "#d1d5da"
_DARK = {_PAPER: "#0d1117", _INK: "#e6edf2", _LINE: "#3d444c"}
_COLOURS = {
    "service": "#2f7fe6",
    "nginx": "#1a9e6b",
    "haproxy": "#e09a1b",
    "websockets": "#b864c9",
    "flask-sock": "#d9542b",
}
"""One for each relay, in all pictures; they can be told apart in either background and by the colour-blind."""

LEAST_MILLISECONDS = 0.01
"""A relay that adds less than can be told has no logarithm: it is drawn here, and its label says so."""

_BAR_INCHES = 0.2
_STYLE = {
    "svg.hashsalt": "vocero",
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "axes.facecolor": _PAPER,
    "figure.facecolor": _PAPER,
    "grid.color": _LINE,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


@dataclass(frozen=True)
class Bars:
    """One group of bars: a metric of a load, a bar for each relay that has it."""

    title: str
    load: str
    metric: str


CPU = (
    Bars("saturated,\nclient to agent", flood.PLAIN.name, "cpu_up"),
    Bars("saturated,\nagent to client", flood.PLAIN.name, "cpu_down"),
    Bars("TLS, saturated,\nclient to agent", flood.TLS.name, "cpu_up"),
    Bars("TLS, saturated,\nagent to client", flood.TLS.name, "cpu_down"),
    Bars("real-time rate,\n{conversations} conversations", voice.LOAD.name, "cpu"),
    Bars("client's messages\nin 8 packets", pieces.LOAD.name, "cpu"),
)
DELAY = (
    Bars("p50", half_load.LOAD.name, "added_p50"),
    Bars("p99", half_load.LOAD.name, "added_p99"),
)
MEMORY = (
    Bars("idle", opening.PLAIN.name, "memory_idle"),
    Bars("active", opening.PLAIN.name, "memory_active"),
    Bars("idle, TLS", opening.TLS.name, "memory_idle"),
    Bars("active, TLS", opening.TLS.name, "memory_active"),
)


def draw_all(folder: Path, records: Records) -> None:
    """Draw every picture that there are numbers for into `folder`."""
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]  # its keys are literals in the stubs
        _draw_bars(folder / "performance-cpu.svg", CPU, records, "CPU for a relayed message", "microseconds of CPU")
        _draw_bars(
            folder / "performance-delay.svg",
            DELAY,
            records,
            "Delay that a half-busy relay adds",
            "milliseconds",
            log=True,
        )
        _draw_bars(folder / "performance-memory.svg", MEMORY, records, "Memory of a conversation", "kilobytes")
        _draw_ladders(folder / "performance-capacity.svg", records)


def _draw_bars(
    path: Path, groups: Sequence[Bars], records: Records, title: str, unit: str, *, log: bool = False
) -> None:
    """Bars (on a logarithmic axis: dots) from left to right in groups, each with its number, and the service's goal."""
    found = [(group, _values(group, records)) for group in groups]
    found = [(group, values) for group, values in found if values]
    if not found:
        return
    count = sum(len(values) + 1 for _, values in found)
    figure = Figure(figsize=(7.6, 1.5 + count * _BAR_INCHES), layout="constrained")
    axes = figure.subplots()
    place, ticks, labels = 0.0, [], []
    for group, values in found:
        ticks.append(place + (len(values) - 1) / 2)
        labels.append(_title(group, records))
        for name, value in values.items():
            _draw_value(axes, place, value, _COLOURS[name], log=log)
            if name == OURS:
                _draw_goal(axes, group, records, place)
            place += 1
        place += 1
    axes.set_yticks(ticks, labels)
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.set(xlabel=unit + (" (logarithmic)" if log else ""))
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.12)
    shown = [name for name in _COLOURS if any(name in values for _, values in found)]
    _finish(figure, axes, title, shown, "x")
    _save(figure, path)


def _draw_value(axes: Axes, place: float, value: float, colour: str, *, log: bool) -> None:
    drawn = max(value, LEAST_MILLISECONDS) if log else value
    if log:  # a bar's length says nothing where there is no zero
        axes.plot([drawn], [place], "o", color=colour, markersize=8)
    else:
        axes.barh(place, drawn, color=colour, height=0.86)
    label = readable(value) if drawn == value else f"{readable(value)} (below what can be told)"
    axes.annotate(
        label,
        (max(drawn, 0), place),
        (7, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        bbox={"facecolor": _PAPER, "edgecolor": "none", "pad": 0.6},
        zorder=5,
    )


def _draw_goal(axes: Axes, group: Bars, records: Records, place: float) -> None:
    """A mark at what the service's number may be at most."""
    values = records[group.load].result.values
    row = next(row for row in LOADS[group.load].rows if row.metric == group.metric)
    times, theirs = row.times_nginx, values.get(MEASURE, {}).get(group.metric)
    goal = times * theirs if times is not None and theirs is not None else row.at_most
    if goal is not None:
        axes.plot([goal, goal], [place - 0.55, place + 0.55], color=_INK, linewidth=2)


def _draw_ladders(path: Path, records: Records) -> None:
    """Added p99 over the number of conversations: a line for each relay, dashed with TLS."""
    figure = Figure(figsize=(7.6, 4.2), layout="constrained")
    axes = figure.subplots()
    shown = []
    for load, line, way in ((capacity.PLAIN, "-", "plain"), (capacity.TLS, "--", "TLS")):
        ladders = records[load.name].result.ladders if load.name in records else {}
        for name, steps in ladders.items():
            counts = [step["conversations"] for step in steps]
            delays = [max(step["added_p99"], LEAST_MILLISECONDS) for step in steps]
            axes.plot(counts, delays, line, color=_COLOURS[name], marker="o", markersize=4, label=f"{name}, {way}")
            shown.append(name)
    if not shown:
        return
    axes.axhline(capacity.LIMIT_MS, color=_INK, linewidth=0.9, linestyle=":")
    axes.text(0.01, capacity.LIMIT_MS * 1.04, f"limit: {capacity.LIMIT_MS:g} ms", transform=axes.get_yaxis_transform())
    axes.set(yscale="log", xlabel="conversations on one core", ylabel="added delay p99, milliseconds (logarithmic)")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    axes.set_xlim(left=0)
    axes.legend(frameon=False, ncols=2, fontsize=9)
    _finish(figure, axes, "Delay over the number of conversations at voice rate", (), "both")
    _save(figure, path)


def _finish(figure: Figure, axes: Axes, title: str, shown: Sequence[str], grid: str) -> None:
    figure.suptitle(title, fontsize=12, x=0.02, ha="left", fontweight="bold")
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=grid, which="major", linewidth=0.7)  # type: ignore[arg-type]  # a literal, too
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    if shown:
        handles: list[Artist] = [Patch(color=_COLOURS[name], label=name) for name in shown]
        handles.append(Line2D([], [], color=_INK, linewidth=2, label="goal of the service"))
        figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9)


def _values(group: Bars, records: Records) -> dict[str, float]:
    """By relay, in the order of the colours."""
    values = records[group.load].result.values if group.load in records else {}
    return {name: values[name][group.metric] for name in _COLOURS if group.metric in values.get(name, {})}


def _title(group: Bars, records: Records) -> str:
    ours = records[group.load].result.values.get("service", {})
    return group.title.format_map({name: f"{value:.0f}" for name, value in ours.items()}) if ours else group.title


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark} !important}}'
        for light, dark in _DARK.items()
        for what in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
    text = path.read_text()
    path.write_text(text.replace("</metadata>", f"</metadata>\n {style}", 1))
