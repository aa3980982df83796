"""The committed dashboards: what their source says, complete, and asking only for what there is."""

from __future__ import annotations

import importlib
import re
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from grafana import generate, queries
from grafana.vocero_dashboards import BOARDS
from grafana.vocero_dashboards.objectives import OBJECTIVES
from grafana.vocero_dashboards.specification import COLUMNS, Unit
from tests import promql
from tests.servers import ROOT

COMMITTED = queries.dashboards()
RULES = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
MOST_PANELS = 14
OF_PROMETHEUS = {"ALERTS"}
UNITS = {unit.value for unit in Unit}

boards = pytest.mark.parametrize("board", COMMITTED.values(), ids=COMMITTED.keys())


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
    below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    return not (beside or below)


@cache
def declared() -> set[str]:
    """Every series' name that our metrics can have, and every recorded one."""
    for path in (ROOT / "service").glob("metrics*.py"):
        importlib.import_module(f"service.{path.stem}")
    found: set[str] = set()
    for family in REGISTRY.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
        found |= {family.name + ending for ending in endings.get(family.type, ())}
    recorded = [rule.get("record") for path in RULES.glob("*.rules.yml") for rule in rules_of(path)]
    return found | {name for name in recorded if name}


def rules_of(path: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]


def test_the_json_is_what_the_source_says() -> None:
    """`python -m grafana.generate` writes it."""
    committed = {path.name: path.read_text() for path in queries.FOLDER.iterdir()}
    assert committed == generate.files()


def test_there_are_the_five_dashboards() -> None:
    titles = [board.title for board in BOARDS]
    assert [title.removeprefix("Vocero: ") for title in titles] == [
        "overview",
        "conversations and voice quality",
        "ElevenLabs (pool, limiter, retries, cost)",
        "fallback and breaker",
        "platform",
    ]
    assert len({board.uid for board in BOARDS}) == len(BOARDS)


@boards
def test_a_dashboard_has_its_address_its_variables_its_annotations_and_its_links(board: dict[str, Any]) -> None:
    assert COMMITTED[f"{board['uid']}.json"] == board
    assert board["description"]
    variables = {each["name"]: each for each in board["templating"]["list"]}
    wanted = {"datasource", "instance", "runbooks"} | ({"provider"} if "$provider" in str(board["panels"]) else set())
    assert variables.keys() == wanted
    assert [each["name"] for each in board["annotations"]["list"]] == ["Deploys", "Rollbacks", "Overrides"]
    to_others, to_runbooks = board["links"]
    assert to_others["tags"] == board["tags"] == ["vocero"]
    assert to_others["includeVars"] and to_others["keepTime"]
    assert to_runbooks["url"] == "${runbooks}"


@boards
def test_a_panel_says_what_it_shows_in_which_unit_and_from_the_chosen_prometheus(board: dict[str, Any]) -> None:
    for panel in queries.panels_of(board):
        assert panel["title"]
        assert panel["description"].endswith((".", ")")), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["datasource"] == SOURCE
        assert panel["targets"]
        assert all(target["datasource"] == SOURCE for target in panel["targets"])
    variables = [each for each in board["templating"]["list"] if each["type"] == "query"]
    assert all(each["datasource"] == SOURCE for each in [*variables, *board["annotations"]["list"]])


@boards
def test_the_panels_lie_in_rows_beside_each_other_and_are_not_too_many(board: dict[str, Any]) -> None:
    assert len(queries.panels_of(board)) <= MOST_PANELS
    assert board["panels"][0]["type"] == "row"
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    assert not any(overlap(one, other) for one, other in combinations(places, 2))
    numbers = [panel["id"] for panel in board["panels"]]
    assert numbers == sorted(set(numbers))


@boards
def test_thresholds_rise_and_begin_at_the_bottom(board: dict[str, Any]) -> None:
    for panel in queries.panels_of(board):
        first, *values = [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
        assert first is None
        assert all(one < other for one, other in pairwise(values)), panel["title"]


@boards
def test_what_to_do_is_a_heading_of_the_runbooks(board: dict[str, Any]) -> None:
    lines = RUNBOOKS.read_text().splitlines()
    headings = {re.sub(r"[^\w -]", "", line.strip("# ").lower()).replace(" ", "-") for line in lines if line[:1] == "#"}
    links = [link for panel in queries.panels_of(board) for link in panel.get("links", [])]
    assert links
    for link in links:
        base, _, heading = link["url"].partition("#")
        assert base == "${runbooks}"
        assert heading in headings


@boards
def test_a_query_asks_for_metrics_that_there_are(board: dict[str, Any]) -> None:
    for asked in queries.queries_of(board):
        names = {use.metric for use in promql.uses(asked.filled())}
        assert names
        assert names - declared() - OF_PROMETHEUS == set(), asked.panel


@boards
def test_a_query_obeys_the_variables_above_the_dashboard(board: dict[str, Any]) -> None:
    for asked in queries.queries_of(board):
        assert "$" not in asked.filled()
        for use in promql.uses(asked.filled(instance="here", provider="there")):
            of_the_whole_service = ":" in use.metric or use.metric in OF_PROMETHEUS
            assert of_the_whole_service or promql.Condition("instance", "=~", "here") in use.conditions, asked.panel


def test_a_variable_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError, match="node"):
        queries.fill('up{instance="$node"}', queries.EVERYTHING)


def test_whoever_publishes_the_runbooks_elsewhere_gets_links_to_there(tmp_path: Path) -> None:
    (tmp_path / "vocero-gone.json").write_text("{}")
    (tmp_path / "mine.json").write_text("{}")
    assert generate.main(["--runbooks", "https://wiki.example/vocero", "--into", str(tmp_path)]) == 0
    written = queries.dashboards(tmp_path)
    assert written.pop("mine.json") == {}
    assert written.keys() == COMMITTED.keys()
    for board in written.values():
        (runbooks,) = (each for each in board["templating"]["list"] if each["name"] == "runbooks")
        assert runbooks["query"] == "https://wiki.example/vocero"


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
def test_a_budget_is_reckoned_as_the_alerts_do(objective: Any) -> None:
    """A dashboard that allowed more than the alert would be green while people are woken up."""
    rules = rules_of(RULES / "objectives.rules.yml")
    expressions = [rule["expr"] for rule in rules if f"{objective.bad_share}:" in rule["expr"]]
    assert expressions
    for expression in expressions:
        assert set(re.findall(r"\* (0\.\d+)", expression)) == {f"{objective.allowed:g}"}
        assert f"{objective.events}:increase" in expression


def test_grafana_is_told_where_prometheus_and_the_dashboards_are() -> None:
    provisioning = ROOT / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    scraped = yaml.safe_load((RULES / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "vocero.yml").read_text())["providers"]
    assert provider["type"] == "file"
