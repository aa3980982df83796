"""From a board to Grafana's JSON, with grafana-foundation-sdk: what all dashboards have, and the rows of each.

The key decision: the data source, the variables, the annotations and the links are the same everywhere and are made
here, so a reader finds them in the same place; every panel uses the data source that is chosen above it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.vocero_dashboards import visuals
from grafana.vocero_dashboards.expressions import PROVIDER, highest, select
from grafana.vocero_dashboards.specification import COLUMNS, Board, Kind, Panel, Query

RUNBOOKS = "docs/runbooks.md"
"""Where the runbooks are, if nobody says otherwise: the same as in the alerts' `runbook_url`."""

TAG = "vocero"
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_NAMES = "ABCDEFGH"
_STEP = "60s"
"""Between two looks at what an annotation tells; `_DEPLOYS` compares with one look before."""

_STRAY_OF_VARIABLES = {"auto", "auto_min", "auto_count"}
_BUILDS = f"max by (version) ({select('vocero_build_info')})"
_DEPLOYS = f"{_BUILDS} unless {_BUILDS.replace('})', '} offset 1m)')}"
_ORDERS = highest("vocero_override_mode", 'mode!="auto"', by="capability, mode")


def text(board: Board, runbooks: str = RUNBOOKS) -> str:
    """The dashboard's JSON; `runbooks` is the address of docs/runbooks.md as it is published."""
    frame = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .readonly()
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .links(list(_links()))
        .variables(list(_variables(board, runbooks)))
        .annotations(list(_annotations()))
    )
    top, number = 0, 1
    for row in board.rows:
        frame = frame.with_row(dashboard.Row(row.title).grid_pos(GridPos(h=1, w=COLUMNS, x=0, y=top)).id(number))
        top, number = top + 1, number + 1
        for panel, place in _placed(row.panels, top):
            frame = frame.with_panel(_panel(panel, place, number))
            number += 1
            top = max(top, place.y + place.h)
    written = json.loads(json.dumps(frame.build(), cls=JSONEncoder))
    _drop_strays(written)
    return json.dumps(written, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _drop_strays(written: dict[str, Any]) -> None:
    """Leave out what the builders write unasked and Grafana's own types (`@grafana/schema` 13) do not know."""
    for variable in written["templating"]["list"]:
        for stray in _STRAY_OF_VARIABLES & variable.keys():
            del variable[stray]
    for panel in written["panels"]:
        if panel["type"] == Kind.TABLE:
            panel["options"].pop("footer", None)
    links = [link for panel in written["panels"] for link in panel.get("links", [])]
    for each in [*written["annotations"]["list"], *written["links"], *links]:
        del each["placement"]  # it would hide them in a menu


def _placed(panels: Iterable[Panel], top: int) -> Iterable[tuple[Panel, GridPos]]:
    """From left to right; what does not fit begins a new line below the highest of its line."""
    left, line = 0, 0
    for panel in panels:
        if left + panel.width > COLUMNS:
            left, top, line = 0, top + line, 0
        yield panel, GridPos(h=panel.height, w=panel.width, x=left, y=top)
        left, line = left + panel.width, max(line, panel.height)


def _panel(panel: Panel, place: GridPos, number: int) -> Builder[models.Panel]:
    made = (
        visuals.start(panel)
        .id(number)
        .title(panel.title)
        .description(panel.description)
        .datasource(_SOURCE)
        .grid_pos(place)
        .targets([_target(query, name, panel.kind) for query, name in zip(panel.queries, _NAMES, strict=False)])
    )
    if panel.runbook is not None:
        link = dashboard.DashboardLink("What to do").type(DashboardLinkType.LINK).target_blank(True)
        made = made.links([link.url(f"${{runbooks}}#{panel.runbook}")])
    return made


def _target(query: Query, name: str, kind: Kind) -> Builder[variants.Dataquery]:
    target = prometheus.Dataquery().expr(query.expression).ref_id(name).datasource(_SOURCE)
    if query.legend:
        target = target.legend_format(query.legend)
    if kind is Kind.SPREAD:
        target = target.format(PromQueryFormat.HEATMAP)
    if kind is Kind.TABLE:
        return target.format(PromQueryFormat.TABLE).instant()
    return target.instant() if kind is Kind.NUMBER else target.range()


def _variables(board: Board, runbooks: str) -> Iterable[Builder[models.VariableModel]]:
    yield dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    yield _labels("instance", "Instance", "label_values(vocero_build_info, instance)")
    if any(PROVIDER in query.expression for panel in board.panels() for query in panel.queries):
        yield _labels("provider", "Provider", "label_values(vocero_turns_total, provider)")
    yield dashboard.ConstantVariable("runbooks").label("Runbooks").value(runbooks)


def _labels(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_SOURCE)
        .query(query)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _links() -> Iterable[dashboard.DashboardLink]:
    others = dashboard.DashboardLink("Vocero").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    yield others.as_dropdown(False).include_vars(True).keep_time(True)
    runbooks = dashboard.DashboardLink("Runbooks").type(DashboardLinkType.LINK).icon("doc").url("${runbooks}")
    yield runbooks.tooltip("What to do about each alert").target_blank(True)


def _annotations() -> Iterable[dashboard.AnnotationQuery]:
    yield _annotation("Deploys", _DEPLOYS, "blue", "Version {{version}}", "The first worker with this version started.")
    yield _annotation(
        "Rollbacks",
        f"{highest('vocero_maintenance')} > 0",
        "red",
        "Maintenance",
        "A rollback is under way; the service answers that it is in maintenance.",
    )
    yield _annotation(
        "Overrides",
        f"{_ORDERS} > 0",
        "purple",
        "{{capability}}: {{mode}}",
        "An admin's order is in force.",
    )


def _annotation(name: str, expression: str, colour: str, title: str, words: str) -> dashboard.AnnotationQuery:
    target = prometheus.Dataquery().expr(expression).ref_id("Annotation").interval(_STEP)
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(_SOURCE)
        .enable(True)
        .icon_color(colour)
        .target(target)
        .title_format(title)
        .text_format(words)
    )
