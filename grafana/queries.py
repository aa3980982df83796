"""What the dashboards ask: every query of their JSON, and each as Prometheus gets it from Grafana.

The key decision: this is read from the JSON that Grafana reads, so whoever checks the queries (the drill, the tests,
the pictures) checks what is shown and not its source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
EVERYTHING = {"instance": ".*", "provider": ".*", "__rate_interval": "1m", "__interval": "15s"}
"""What the variables are when nobody has chosen anything and Prometheus scrapes every 15 s."""

_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)(?::\w+)?\})")


@dataclass(frozen=True)
class Asked:
    """One query of a panel, or of an annotation (then `panel` is the annotation's name)."""

    dashboard: str
    panel: str
    expression: str
    legend: str
    is_annotation: bool = False

    def filled(self, **variables: str) -> str:
        """The expression as Prometheus gets it; without `variables`, as if nobody had chosen anything."""
        return fill(self.expression, {**EVERYTHING, **variables})


def fill(expression: str, variables: Mapping[str, str]) -> str:
    """`expression` with Grafana's variables replaced.

    Raises:
        KeyError: one is not among `variables`.
    """
    return _VARIABLE.sub(lambda found: variables[found[1] or found[2]], expression)


def dashboards(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """The dashboards' JSON by the names of their files."""
    return {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def every_query(folder: Path = FOLDER) -> list[Asked]:
    """Every query of every panel and annotation."""
    return [query for board in dashboards(folder).values() for query in queries_of(board)]


def queries_of(board: Mapping[str, Any]) -> Iterator[Asked]:
    """The queries of one dashboard's JSON."""
    for panel in panels_of(board):
        for target in panel.get("targets", []):
            yield Asked(board["title"], panel["title"], target["expr"], target.get("legendFormat", ""))
    for annotation in board["annotations"]["list"]:
        yield Asked(board["title"], annotation["name"], annotation["target"]["expr"], "", is_annotation=True)


def panels_of(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The panels with numbers, without the rows' headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]
