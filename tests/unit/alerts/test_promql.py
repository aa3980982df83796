"""The judge of queries finds what Prometheus would pass over in silence."""

from __future__ import annotations

import pytest

from tests.promql import Exported, uses

PAGE = """\
# TYPE speed_seconds histogram
speed_seconds_bucket{le="1.0",way="up"} 1
speed_seconds_bucket{le="+Inf",way="up"} 1
speed_seconds_count{way="up"} 1
speed_seconds_sum{way="up"} 1
# TYPE calls counter
calls_total{way="up"} 1
calls_total{way="down"} 1
"""


@pytest.fixture
def exported() -> Exported:
    found = Exported.of_text(PAGE)
    found.add_record("way:calls:rate5m", "sum by (way) (rate(calls_total[5m]))")
    return found


@pytest.mark.parametrize(
    "good",
    [
        'sum by (job, way) (rate(calls_total{way=~"up|down", instance=~".*"}[5m])) > 0',
        'rate(speed_seconds_bucket{le="1.0"}[5m]) / ignoring (le) group_left rate(speed_seconds_count[5m])',
        "max_over_time((way:calls:rate5m > 0)[1h:1m]) unless absent(up)",
        'way:calls:rate5m{way!="up"}',
    ],
)
def test_what_is_there_is_no_problem(exported: Exported, good: str) -> None:
    assert exported.problems(good) == []


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ("rate(call_total[5m])", "call_total"),
        ("rate(calls[5m])", "calls"),
        ('calls_total{way="sideways"}', "sideways"),
        ('calls_total{way!="sideways"}', "sideways"),
        ('calls_total{way=~"up|sideways"}', "sideways"),
        ('calls_total{direction="up"}', "direction"),
        ('speed_seconds_bucket{le="1"}', "le"),
        ("sum by (direction) (calls_total)", "direction"),
        ("up and on (direction) calls_total", "direction"),
        ("sum(calls_total", "unclosed"),
        ('{way="up"}', "without a name"),
    ],
)
def test_what_is_misspelt_is_found_wherever_it_stands(exported: Exported, bad: str, word: str) -> None:
    (problem,) = exported.problems(bad)
    assert word in problem


def test_the_selectors_of_an_expression_are_listed_with_their_conditions() -> None:
    (first, second) = uses('a{x="1"} / sum(rate(b{y!~"2"}[5m]))')
    assert (first.metric, first.labels, second.metric) == ("a", {"x"}, "b")
    assert [(each.label, each.operator, each.value) for each in second.conditions] == [("y", "!~", "2")]
