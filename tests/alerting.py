"""The alerts as the tests read them: rules, their promtool tests, runbooks, and the same rules on a faster clock.

The key decision: the rules' own files are what is read and run everywhere. The drill only has their durations divided,
in the text that Prometheus gets, so that an hour's window is a minute long and nothing else is different.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.servers import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
RULE_FILES = sorted(PROMETHEUS.glob("*.rules.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.test.yml"))

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = r"(?:\d+(?:ms|[smhd]))+"


@dataclass(frozen=True)
class Alert:
    """One rule that alerts. Several have the same name when they differ in `labels`."""

    name: str
    expression: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others of its name."""
        return self.name, self.labels["severity"], self.labels.get("window", "")

    @property
    def heading(self) -> str:
        """The anchor in docs/runbooks.md that it sends people to."""
        return self.annotations["runbook_url"].rpartition("#")[2]


@dataclass(frozen=True)
class Record:
    """One rule that works something out beforehand."""

    name: str
    expression: str


@dataclass
class Seen:
    """When a promtool test looked for an alert, and whether it was there (seconds since its begin)."""

    there: list[float] = field(default_factory=list)
    not_there: list[float] = field(default_factory=list)


def alerts() -> list[Alert]:
    """Every rule that alerts."""
    return [
        Alert(rule["alert"], rule["expr"], rule["labels"], rule["annotations"]) for rule in _rules() if "alert" in rule
    ]


def records() -> list[Record]:
    """Every rule that records, in the order in which they stand."""
    return [Record(rule["record"], rule["expr"]) for rule in _rules() if "record" in rule]


def _rules() -> Iterator[dict[str, Any]]:
    for path in RULE_FILES:
        for group in _read(path)["groups"]:
            yield from group["rules"]


@functools.cache
def _read(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def headings() -> list[str]:
    """The anchors of the headings in docs/runbooks.md that belong to alerts, as GitHub makes them."""
    titles = re.findall(r"^## (.+)$", RUNBOOKS.read_text(), re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def runbook_queries() -> list[str]:
    """Every query that docs/runbooks.md tells people to ask."""
    blocks = re.findall(r"^```promql\n(.+?)^```$", RUNBOOKS.read_text(), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines()]


def looked_for(alert: Alert) -> list[Seen]:
    """Each promtool test that looks for this alert, and what it says."""
    found = []
    for path in TEST_FILES:
        for test in _read(path)["tests"]:
            seen = Seen()
            for check in test["alert_rule_test"]:
                if check["alertname"] == alert.name:
                    labels = [expected["exp_labels"] for expected in check["exp_alerts"]]
                    is_there = any(alert.labels.items() <= each.items() for each in labels)
                    (seen.there if is_there else seen.not_there).append(seconds(check["eval_time"]))
            if seen.there or seen.not_there:
                found.append(seen)
    return found


def seconds(duration: str) -> float:
    """A duration of Prometheus' (1h30m) in seconds."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhd])", duration))


def on_faster_clock(text: str, factor: float) -> str:
    """Rules with every duration divided by `factor`: windows, offsets and how long something must be so.

    Limits in seconds (`> 4 * 3600`) and the words of people stay as they are, and so do the names of what is recorded.
    """
    window = rf"\[({_DURATION})(?::({_DURATION}))?\]"
    text = re.sub(window, lambda found: f"[{':'.join(_faster(each, factor) for each in found.groups() if each)}]", text)
    text = re.sub(rf"\boffset ({_DURATION})\b", lambda found: f"offset {_faster(found[1], factor)}", text)
    return re.sub(
        rf"^(\s+for: )({_DURATION})$", lambda found: f"{found[1]}{_faster(found[2], factor)}", text, flags=re.M
    )


def _faster(duration: str, factor: float) -> str:
    return f"{max(1, round(seconds(duration) / factor * 1000))}ms"


def write_faster_rules(folder: Path, factor: float) -> None:
    """Put the rules into `folder`, with a faster clock."""
    for path in RULE_FILES:
        (folder / path.name).write_text(on_faster_clock(path.read_text(), factor))
