"""PromQL for the tests: what an expression asks for, and whether a real service has it.

The key decision: what there is comes from a real answer of /metrics, with the labels and their values, and not from the
code that declares it. So a misspelt label value, which Prometheus answers with nothing at all and no error, is found.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

TARGET_LABELS = frozenset({"job", "instance"})
"""What Prometheus itself adds to whatever it scrapes."""

_EQUAL = str(promql_parser.MatchOp.Equal)
_REGEX = str(promql_parser.MatchOp.Re)
_NOT_EQUAL = str(promql_parser.MatchOp.NotEqual)


@dataclass(frozen=True)
class Condition:
    """One matcher of a selector: `label` compared with `value` by `operator` (=, !=, =~, !~)."""

    label: str
    operator: str
    value: str


@dataclass(frozen=True)
class Use:
    """One selector: the metric's name as it is scraped (with `_total`, `_bucket`, ...), and its conditions."""

    metric: str
    conditions: tuple[Condition, ...] = ()

    @property
    def labels(self) -> frozenset[str]:
        """The labels that are asked for."""
        return frozenset(each.label for each in self.conditions)


@dataclass(frozen=True)
class Grouping:
    """Labels in a `by (...)`, `without`, `on` or `group_left`, and the metrics below it that may have them."""

    labels: frozenset[str]
    metrics: frozenset[str]


@dataclass
class Question:
    """What an expression asks for."""

    uses: list[Use] = field(default_factory=list)
    groupings: list[Grouping] = field(default_factory=list)

    @property
    def metrics(self) -> frozenset[str]:
        return frozenset(use.metric for use in self.uses)


def ask(expression: str) -> Question:
    """Take an expression apart.

    Raises:
        ValueError: it is no PromQL, or a selector has no name.
    """
    question = Question()
    _walk(promql_parser.parse(expression), question)
    return question


def uses(expression: str) -> list[Use]:
    """The selectors of an expression.

    Raises:
        ValueError: it is no PromQL, or a selector has no name.
    """
    return ask(expression).uses


def _walk(node: Any, question: Question) -> None:
    kind = type(node).__name__
    if kind == "VectorSelector":
        question.uses.append(_use(node))
    elif kind == "MatrixSelector":
        question.uses.append(_use(node.vector_selector))
    for child in _children(node, kind):
        _walk(child, question)
    labels = _grouping_labels(node, kind)
    if labels:
        below = Question()
        for child in _children(node, kind):
            _walk(child, below)
        question.groupings.append(Grouping(labels, below.metrics))


def _use(selector: Any) -> Use:
    if not selector.name:
        raise ValueError(f"a selector without a name: {selector.prettify()}")
    operators = {_EQUAL: "=", _NOT_EQUAL: "!=", _REGEX: "=~"}
    conditions = tuple(
        Condition(each.name, operators.get(str(each.op), "!~"), each.value) for each in selector.matchers.matchers
    )
    return Use(selector.name, conditions)


def _children(node: Any, kind: str) -> list[Any]:
    if kind == "BinaryExpr":
        return [node.lhs, node.rhs]
    if kind == "Call":
        return list(node.args)
    if kind == "AggregateExpr":
        return [node.expr] + ([node.param] if node.param is not None else [])
    return [node.expr] if hasattr(node, "expr") else []


def _grouping_labels(node: Any, kind: str) -> frozenset[str]:
    modifier = getattr(node, "modifier", None)
    if kind == "AggregateExpr":
        return frozenset(modifier.labels) if modifier is not None else frozenset()
    if kind == "BinaryExpr" and modifier is not None:
        matching = modifier.matching.labels if modifier.matching is not None else []
        return frozenset(matching) | frozenset(modifier.group_labels or [])
    return frozenset()


class Exported:
    """What there is: metrics with their labels and these labels' values."""

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.metrics: set[str] = set()

    @classmethod
    def of_text(cls, *pages: str) -> Exported:
        """What these answers of /metrics have; and what Prometheus makes of each target by itself."""
        found = cls()
        for page in pages:
            for family in text_string_to_metric_families(page):
                for sample in family.samples:
                    found.add(sample.name, sample.labels)
        found.add("up", {})
        return found

    def add(self, metric: str, labels: Mapping[str, str]) -> None:
        """Take note of a series, scraped or recorded."""
        self.metrics.add(metric)
        for label, value in labels.items():
            self.labels[metric][label].add(value)

    def add_record(self, name: str, expression: str) -> None:
        """Take note of a recording rule: it has the labels that its expression groups by."""
        self.metrics.add(name)
        question = ask(expression)
        for grouping in question.groupings:
            for label in grouping.labels:
                values = [self.labels[metric][label] for metric in grouping.metrics if metric in self.labels]
                self.labels[name][label].update(*values)

    def problems(self, expression: str) -> list[str]:
        """What an expression asks for that there is not; empty: everything is there."""
        try:
            question = ask(expression)
        except ValueError as exc:
            return [f"{expression}: {exc}"]
        found = [problem for use in question.uses for problem in self._problems_of(use)]
        for grouping in question.groupings:
            known = TARGET_LABELS.union(*(self.labels[metric] for metric in grouping.metrics & self.metrics))
            found += [
                f"no metric of {sorted(grouping.metrics)} has the label {label}" for label in grouping.labels - known
            ]
        return found

    def _problems_of(self, use: Use) -> Iterable[str]:
        if use.metric not in self.metrics:
            yield f"there is no metric {use.metric}"
            return
        for condition in use.conditions:
            if condition.label in TARGET_LABELS:
                continue
            values = self.labels[use.metric].get(condition.label)
            if values is None:
                yield f"{use.metric} has no label {condition.label}"
            elif not _is_met(condition, values):
                yield f"{use.metric} has no {condition.label} {condition.value!r}, only {sorted(values)[:30]}"


def _is_met(condition: Condition, values: set[str]) -> bool:
    """A value that is named must be there, whether it is wanted or not; of a pattern, each of its alternatives."""
    if condition.value == "":
        return True
    if condition.operator in ("=", "!="):
        return condition.value in values
    if re.fullmatch(r"[\w|]+", condition.value):
        return set(condition.value.split("|")) <= values
    return any(re.fullmatch(condition.value, value) for value in values)
