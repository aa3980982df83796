"""A whole dashboard as one picture: its panels in their grid, from what a Prometheus answers to their queries.

The key decision: the picture is as wide as a page of docs/, and as high as the grid says; rows' headings are drawn, so
that text and picture can name a row.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

from grafana import queries
from grafana.pictures import panels, wording
from grafana.pictures.panels import Drawn
from grafana.pictures.prometheus import Prometheus, Span

WIDTH, COLUMNS, ROW_PIXELS, DOTS = 1400, 24, 34, 100
_PALETTE = 256
_HEAD, _GAP, _TITLE, _LABELS = 56, 4, 24, 22
_MARKS = {"green": "#73bf69", "blue": "#5794f2", "orange": "#ff9830", "red": "#f2495c", "purple": "#b877d9"}


@dataclass(frozen=True)
class _Place:
    """A rectangle in pixels from the picture's upper left corner."""

    left: float
    top: float
    width: float
    height: float


def draw(board: Mapping[str, Any], prometheus: Prometheus, span: Span, path: Path, **variables: str) -> list[str]:
    """Draw the dashboard into the PNG file `path`; the titles of panels that had no data are the result.

    Raises:
        requests.RequestException: Prometheus does not answer, or refuses a query.
    """
    height = _HEAD + ROW_PIXELS * max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) + 8
    figure = Figure(figsize=(WIDTH / DOTS, height / DOTS), dpi=DOTS, facecolor=panels.PAPER)
    figure.text(0.008, 1 - 26 / height, board["title"], color=panels.INK, fontsize=13, fontweight="bold")
    figure.text(0.008, 1 - 46 / height, board["description"], color=panels.FAINT, fontsize=9)
    marks = _marks(board, prometheus, span, variables)
    empty = []
    for panel in board["panels"]:
        place = _place(panel["gridPos"])
        if panel["type"] == "row":
            figure.text(
                place.left / WIDTH, 1 - (place.top + 22) / height, panel["title"], color=panels.INK, fontsize=10.5
            )
            continue
        drawn = _ask(panel, prometheus, span, marks, variables)
        if not drawn.series:
            empty.append(panel["title"])
        _card(figure, place, height, panel["title"])
        axes = figure.add_axes(_inside(place, height, drawn))
        panels.draw(axes, drawn)
    _save(figure, path)
    return empty


def _save(figure: Figure, path: Path) -> None:
    """With a palette: a third of the bytes, and nobody sees a difference."""
    drawn = io.BytesIO()
    figure.savefig(drawn, facecolor=panels.PAPER)
    Image.open(drawn).convert("RGB").quantize(_PALETTE, dither=Image.Dither.NONE).save(path, optimize=True)


def _ask(
    panel: Mapping[str, Any],
    prometheus: Prometheus,
    span: Span,
    marks: list[tuple[float, float, str]],
    variables: Mapping[str, str],
) -> Drawn:
    series = []
    for target in panel["targets"]:
        expression = queries.fill(target["expr"], {**queries.EVERYTHING, **variables})
        pattern = target.get("legendFormat", "")
        series += [(wording.legend(pattern, each.labels), each) for each in prometheus.ask(expression, span)]
    return Drawn(panel, span, series, marks)


def _marks(
    board: Mapping[str, Any], prometheus: Prometheus, span: Span, variables: Mapping[str, str]
) -> list[tuple[float, float, str]]:
    """Begin, end and colour of what the annotations tell."""
    found = []
    for annotation in board["annotations"]["list"]:
        expression = queries.fill(annotation["target"]["expr"], {**queries.EVERYTHING, **variables})
        colour = _MARKS[annotation["iconColor"]]
        for each in prometheus.ask(expression, span):
            times = span.times()[each.values > 0]
            if times.size:
                found.append((float(times[0]), float(times[-1]), colour))
    return found


def _place(grid: Mapping[str, int]) -> _Place:
    column = WIDTH / COLUMNS
    return _Place(
        grid["x"] * column + _GAP,
        _HEAD + grid["y"] * ROW_PIXELS + _GAP,
        grid["w"] * column - 2 * _GAP,
        grid["h"] * ROW_PIXELS - 2 * _GAP,
    )


def _card(figure: Figure, place: _Place, height: float, title: str) -> None:
    figure.patches.append(
        FancyBboxPatch(
            (place.left / WIDTH, 1 - (place.top + place.height) / height),
            place.width / WIDTH,
            place.height / height,
            boxstyle="square,pad=0",
            facecolor=panels.CARD,
            edgecolor=panels.LINE,
            linewidth=0.8,
            transform=figure.transFigure,
            zorder=-1,
        )
    )
    figure.text(
        (place.left + 8) / WIDTH, 1 - (place.top + 17) / height, title, color=panels.INK, fontsize=9, fontweight="bold"
    )


def _inside(place: _Place, height: float, drawn: Drawn) -> tuple[float, float, float, float]:
    """Where a panel's axes are: below its title, above its legend, right of its labels; as shares of the picture."""
    panel = drawn.panel
    in_time = panels.is_drawn_in_time(panel)
    left = 8.0 if not in_time else 56.0
    if panel["type"] == "state-timeline":
        left = min(place.width / 3, 14 + 5.2 * max((len(name) for name, _ in drawn.series), default=6))
    right = 22.0 if in_time else 12.0
    rows = panels.legend_rows(drawn, place.width - left - right)
    below = (_LABELS if in_time else 6) + panels.LEGEND_PIXELS * rows
    return (
        (place.left + left) / WIDTH,
        1 - (place.top + place.height - below) / height,
        (place.width - left - right) / WIDTH,
        (place.height - _TITLE - below) / height,
    )
