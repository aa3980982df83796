"""One panel of a dashboard, drawn into its place with matplotlib.

The key decision: one function for each of Grafana's plugins that we use; a plugin without one is an error, so that no
picture has a hole that nobody sees.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib.dates as mdates
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from grafana.pictures import wording
from grafana.pictures.prometheus import Numbers, Series, Span

PAPER, CARD, INK, FAINT, LINE = "#111217", "#181b1f", "#d8d9da", "#8e9299", "#2c3235"
_PALETTE = (
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a",
    "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477",
)  # fmt: skip
LEGEND_PIXELS = 15
_LETTER_PIXELS = 6.3
_MOST_LEGENDS = 7
_MOST_TICKS = 4
_TICK_SECONDS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400)
_SMALL, _TINY = 8.0, 7.0


@dataclass(frozen=True)
class Drawn:
    """A panel's series with their names. `marks` are the annotations: begin, end, colour."""

    panel: Mapping[str, Any]
    span: Span
    series: Sequence[tuple[str, Series]]
    marks: Sequence[tuple[float, float, str]]

    @property
    def field(self) -> Mapping[str, Any]:
        """What the panel says of its numbers."""
        defaults: Mapping[str, Any] = self.panel["fieldConfig"]["defaults"]
        return defaults

    def text(self, value: float) -> str:
        """A number in the panel's unit."""
        return wording.number(value, self.field["unit"], self.field.get("decimals"))

    @property
    def steps(self) -> Sequence[Mapping[str, Any]]:
        """The panel's thresholds."""
        steps: Sequence[Mapping[str, Any]] = self.field.get("thresholds", {}).get("steps", [])
        return steps

    def dates(self) -> Numbers:
        """The span's times as matplotlib has them."""
        return _dates(self.span.times())


def draw(axes: Axes, drawn: Drawn) -> None:
    """Draw the panel into `axes`, of which only the place is set.

    Raises:
        KeyError: it is of a kind that we do not use.
    """
    axes.set_facecolor(CARD)
    axes.tick_params(colors=FAINT, labelsize=_TINY, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    drawers: Mapping[str, Callable[[Axes, Drawn], None]] = {
        "timeseries": _lines,
        "stat": _number,
        "state-timeline": _states,
        "heatmap": _spread,
        "table": _table,
    }
    drawers[drawn.panel["type"]](axes, drawn)


def is_drawn_in_time(panel: Mapping[str, Any]) -> bool:
    """Tell whether the panel has an axis with times."""
    return panel["type"] in {"timeseries", "state-timeline", "heatmap"}


def legend_rows(drawn: Drawn, width: float) -> int:
    """How many rows of text the legend needs below axes of that width, in pixels."""
    if drawn.panel["type"] != "timeseries":
        return 0
    names = [name for name, each in drawn.series if not np.isnan(each.values).all()]
    if drawn.panel["options"]["legend"]["displayMode"] == "table":
        return 1 + min(len(names), _MOST_LEGENDS)
    return 1 + _flow(names, width)[-1][1] if names else 0


def _lines(axes: Axes, drawn: Drawn) -> None:
    dates = drawn.dates()
    series = [(name, each) for name, each in drawn.series if not np.isnan(each.values).all()]
    custom = drawn.field.get("custom", {})
    if custom.get("stacking", {}).get("mode") == "normal":
        _stack(axes, dates, [each.values for _, each in series])
    else:
        for (_, each), colour in zip(series, _colours(len(series)), strict=True):
            axes.plot(dates, each.values, color=colour, linewidth=1.3)
            axes.fill_between(dates, each.values, 0, color=colour, alpha=0.08, linewidth=0)
    _limit(axes, drawn)
    if custom.get("thresholdsStyle", {}).get("mode", "off") != "off":
        for step in drawn.steps:
            if step["value"] is not None:
                axes.axhline(
                    step["value"], color=wording.colour(step["value"], drawn.steps), linestyle="--", linewidth=0.9
                )
    _time_axis(axes, drawn)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.number(value, drawn.field["unit"])))
    axes.grid(visible=True, color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    if series:
        _legend(axes, drawn, series)
    else:
        _nothing(axes, drawn)


def _stack(axes: Axes, dates: Numbers, values: Sequence[Numbers]) -> None:
    base = np.zeros(dates.size)
    for each, colour in zip(values, _colours(len(values)), strict=True):
        top = base + np.nan_to_num(each)
        axes.fill_between(dates, base, top, color=colour, alpha=0.35, linewidth=0)
        axes.plot(dates, top, color=colour, linewidth=1.0)
        base = top


def _limit(axes: Axes, drawn: Drawn) -> None:
    least, most = drawn.field.get("min"), drawn.field.get("max")
    low, high = axes.get_ylim()
    if least is not None:
        low = least
    if not any(np.nan_to_num(each.values).any() for _, each in drawn.series):
        limits = [step["value"] for step in drawn.steps if step["value"] is not None]
        high = 1.25 * min(limits) if limits else low + 1  # nothing, or nothing but zeros
    axes.set_ylim(low, high if most is None else most)


def _legend(axes: Axes, drawn: Drawn, series: Sequence[tuple[str, Series]]) -> None:
    """Below the axes, in pixels from their lower left corner: as a table, or in a line that is broken."""
    colours = _colours(len(series))
    right = axes.get_window_extent().width
    if drawn.panel["options"]["legend"]["displayMode"] == "table":
        for place, head in ((right - 62, "last"), (right, "highest")):
            _write(axes, place, -1.75, head, FAINT, at="right")
        if len(series) > _MOST_LEGENDS:
            _write(axes, -28, -1.75, f"{len(series)}, of which {_MOST_LEGENDS}:", FAINT)
        for index, ((name, each), colour) in enumerate(zip(series[:_MOST_LEGENDS], colours, strict=False)):
            down = -2.75 - index
            _write(axes, -44, down, "━", colour)
            _write(axes, -28, down, name, INK)
            for place, value in ((right - 62, each.last), (right, float(np.nanmax(each.values)))):
                _write(axes, place, down, drawn.text(value), INK, at="right")
        return
    for (name, _), colour, (left, row) in zip(series, colours, _flow([name for name, _ in series], right), strict=True):
        _write(axes, left - 44, -1.75 - row, "━", colour)
        _write(axes, left - 28, -1.75 - row, name, INK)


def _flow(names: Sequence[str], width: float) -> list[tuple[float, int]]:
    """Where each name of a legend begins (pixels, row) if it is broken like text."""
    places, left, row = [], 0.0, 0
    for name in names:
        needed = 30 + _LETTER_PIXELS * len(name)
        if left and left + needed > width + 44:
            left, row = 0.0, row + 1
        places.append((left, row))
        left += needed
    return places


def _write(axes: Axes, left: float, rows: float, text: str, colour: str, *, at: str = "left") -> None:
    axes.annotate(
        text, (0, 0), (left, rows * LEGEND_PIXELS), xycoords="axes fraction", textcoords="offset pixels",
        color=colour, fontsize=_SMALL, ha=at, annotation_clip=False,
    )  # fmt: skip


def _number(axes: Axes, drawn: Drawn) -> None:
    axes.set_axis_off()
    shown = list(drawn.series) or [("", Series({}, np.array([np.nan])))]
    for index, (name, each) in enumerate(shown):
        known = wording.word(each.last, drawn.field.get("mappings", []))
        text, colour = known or (drawn.text(each.last), wording.colour(each.last, drawn.steps))
        if np.isnan(each.last):
            colour = FAINT
        middle = 1 - (index + 0.5) / len(shown)
        size = 26 if len(shown) == 1 else max(11, 26 - 4 * len(shown))
        if len(shown) > 1:
            axes.text(0.04, middle, name, color=INK, fontsize=9, va="center", transform=axes.transAxes)
        axes.text(
            0.5 if len(shown) == 1 else 0.96, middle, text, color=colour, fontsize=size, fontweight="bold",
            ha="center" if len(shown) == 1 else "right", va="center", transform=axes.transAxes,
        )  # fmt: skip


def _states(axes: Axes, drawn: Drawn) -> None:
    times = np.append(drawn.span.times(), drawn.span.end + drawn.span.step)
    names = [name for name, _ in drawn.series]
    for row, (_, each) in enumerate(drawn.series):
        edges = [0, *(np.flatnonzero(np.diff(np.nan_to_num(each.values, nan=-1.0))) + 1), each.values.size]
        for begin, end in pairwise(edges):
            known = wording.word(float(each.values[begin]), drawn.field.get("mappings", []))
            if known is None:
                continue
            text, colour = known
            left, right = _dates(times[[begin, end]])
            axes.barh(row, right - left, left=left, height=0.8, color=colour, alpha=0.75)
            if (end - begin) / each.values.size > len(text) * 0.018:
                axes.text(
                    (left + right) / 2,
                    row,
                    text,
                    color="#0b0c0e",
                    fontsize=_SMALL,
                    ha="center",
                    va="center",
                    clip_on=True,
                )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    _time_axis(axes, drawn)
    if not names:
        _nothing(axes, drawn)


def _spread(axes: Axes, drawn: Drawn) -> None:
    buckets = sorted(
        ((float(each.labels["le"]), each.values) for _, each in drawn.series), key=lambda bucket: bucket[0]
    )
    if not buckets:
        _time_axis(axes, drawn)
        _nothing(axes, drawn)
        return
    counts = np.diff(np.nan_to_num(np.array([values for _, values in buckets])), axis=0, prepend=0)
    masked = np.ma.masked_less_equal(counts, 0)
    times = drawn.span.times()
    edges = _dates(np.append(times - drawn.span.step / 2, times[-1] + drawn.span.step / 2))
    axes.pcolormesh(edges, np.arange(len(buckets) + 1), masked, cmap="YlOrRd", rasterized=True)
    bounds = [drawn.text(bound) for bound, _ in buckets[:-1]]
    axes.set_yticks(range(1, len(buckets)), bounds)
    _time_axis(axes, drawn)


def _table(axes: Axes, drawn: Drawn) -> None:
    axes.set_axis_off()
    rows = [each for _, each in drawn.series if not np.isnan(each.values[-1])]
    if not rows:
        axes.text(0.5, 0.5, drawn.field.get("noValue", "no data"), color=FAINT, ha="center", transform=axes.transAxes)
        return
    heads = sorted({name for each in rows for name in each.labels})
    places = np.linspace(0.02, 0.6, len(heads))
    for place, head in zip(places, heads, strict=True):
        axes.text(place, 0.9, head, color="#6e9fff", fontsize=9, transform=axes.transAxes)
        for line, each in enumerate(rows):
            axes.text(
                place,
                0.9 - 0.16 * (line + 1),
                each.labels.get(head, ""),
                color=INK,
                fontsize=9,
                transform=axes.transAxes,
            )


def _time_axis(axes: Axes, drawn: Drawn) -> None:
    dates = drawn.dates()
    axes.set_xlim(dates[0], dates[-1])
    length = drawn.span.end - drawn.span.begin
    apart = next((step for step in _TICK_SECONDS if length / step <= _MOST_TICKS), length)
    ticks = np.arange(np.ceil(drawn.span.begin / apart) * apart, drawn.span.end, apart)
    axes.set_xticks(_dates(ticks))
    pattern = "%H:%M:%S" if apart < 60 else "%H:%M"
    axes.xaxis.set_major_formatter(mdates.DateFormatter(pattern))  # type: ignore[no-untyped-call]
    for begin, end, colour in drawn.marks:
        left, right = _dates(np.array([begin, end]))
        axes.axvline(left, color=colour, linewidth=0.9, linestyle=":")
        axes.axvspan(left, right, ymin=0, ymax=0.02, color=colour, alpha=0.8, linewidth=0)


def _nothing(axes: Axes, drawn: Drawn) -> None:
    axes.text(
        0.5, 0.5, drawn.field.get("noValue", "no data"), color=FAINT, fontsize=10, ha="center", va="center",
        transform=axes.transAxes,
    )  # fmt: skip


def _colours(count: int) -> list[str]:
    return [_PALETTE[index % len(_PALETTE)] for index in range(count)]


def _dates(times: Numbers) -> Numbers:
    moments = [dt.datetime.fromtimestamp(float(at), dt.UTC) for at in times]
    return np.asarray(mdates.date2num(moments), dtype=np.float64)  # type: ignore[no-untyped-call]
