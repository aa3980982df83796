"""How each kind of panel looks: one function for each of Grafana's plugins that we use.

The key decision: looks follow from what a panel is (stacked, many series, thresholds) and are the same everywhere; a
board cannot choose a colour or a line's width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from grafana_foundation_sdk.builders import common, dashboard, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models.dashboard import (
    DashboardRangeMapOptions,
    DataTransformerConfig,
    FieldColorModeId,
    RangeMap,
    Threshold,
    ThresholdsMode,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode

from grafana.vocero_dashboards.specification import Colour, Kind, Panel, Step

Builder = timeseries.Panel | stat.Panel | statetimeline.Panel | heatmap.Panel | table.Panel
NOTHING = "nothing here"
_NEUTRAL = (Step(None, Colour.NOTE),)


def start(panel: Panel) -> Builder:
    """A builder of the panel with its looks, unit, bounds, thresholds and words, without its queries and its place."""
    made = _STARTS[panel.kind](panel).unit(panel.unit.value).no_value(NOTHING)
    made = made.thresholds(_thresholds(panel.steps or _NEUTRAL))
    if panel.words:
        words = [
            RangeMap(DashboardRangeMapOptions(word.least, word.most, ValueMappingResult(word.text, word.colour.value)))
            for word in panel.words
        ]
        made = made.mappings(list(words))
    if panel.least is not None:
        made = made.min(panel.least)
    if panel.most is not None:
        made = made.max(panel.most)
    return made if panel.decimals is None else made.decimals(panel.decimals)


def _thresholds(steps: tuple[Step, ...]) -> dashboard.ThresholdsConfig:
    written = [Threshold(step.value, step.colour.value) for step in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(written)


def _lines(panel: Panel) -> Builder:
    legend = common.VizLegendOptions().show_legend(True).placement(looks.LegendPlacement.BOTTOM)
    if panel.many:
        legend = (
            legend.display_mode(looks.LegendDisplayMode.TABLE)
            .calcs(["lastNotNull", "max"])
            .sort_by("Max")
            .sort_desc(True)
        )
    else:
        legend = legend.display_mode(looks.LegendDisplayMode.LIST).calcs([])
    stacking = looks.StackingMode.NORMAL if panel.stacked else looks.StackingMode.NONE
    made = (
        timeseries.Panel()
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING))
        .draw_style(looks.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(35 if panel.stacked else 8)
        .show_points(looks.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(stacking).group("A"))
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    )
    dashed = common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
    return made.thresholds_style(dashed) if panel.steps else made


def _number(panel: Panel) -> Builder:
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .color_mode(looks.BigValueColorMode.VALUE)
        .graph_mode(looks.BigValueGraphMode.NONE)
        .justify_mode(looks.BigValueJustifyMode.AUTO)
        .text_mode(looks.BigValueTextMode.AUTO if len(panel.queries) > 1 else looks.BigValueTextMode.VALUE)
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    )


def _states(_: Panel) -> Builder:
    return (
        statetimeline.Panel()
        .show_value(looks.VisibilityMode.AUTO)
        .row_height(0.8)
        .merge_values(True)
        .align_value(looks.TimelineValueAlignment.LEFT)
        .legend(common.VizLegendOptions().show_legend(False).display_mode(looks.LegendDisplayMode.LIST).calcs([]))
        .fill_opacity(75)
        .line_width(0)
        .color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    )


def _spread(panel: Panel) -> Builder:
    return (
        heatmap.Panel()
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("YlOrRd").steps(64))
        .cell_gap(1)
        .y_axis(heatmap.YAxisConfig().axis_placement(looks.AxisPlacement.LEFT).unit(panel.unit.value))
        .filter_values(heatmap.FilterValueRange().le(1e-9))
    )


def _table(_: Panel) -> Builder:
    """The labels alone: a row is there, or it is not."""
    hidden = {"excludeByName": {"Time": True, "Value": True}}
    return table.Panel().show_header(True).with_transformation(DataTransformerConfig(id_val="organize", options=hidden))


_STARTS: Mapping[Kind, Callable[[Panel], Builder]] = {
    Kind.LINES: _lines,
    Kind.NUMBER: _number,
    Kind.STATES: _states,
    Kind.SPREAD: _spread,
    Kind.TABLE: _table,
}
