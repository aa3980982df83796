"""Numbers and names in the dashboards' pictures, as Grafana writes them."""

from __future__ import annotations

import pytest

from grafana.pictures import wording
from grafana.vocero_dashboards.specification import Unit


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0"),
        (0.0000042, "s", "4.2 µs"),
        (0.0421, "s", "42.1 ms"),
        (1.5, "s", "1.5 s"),
        (90.0, "s", "1.5 min"),
        (31_536_000.0, "s", "1 y"),
        (0.9951, "percentunit", "99.5 %"),
        (12_345.0, "short", "12.3 k"),
        (3.0, "short", "3"),
        (0.25, "ops", "0.25/s"),
        (14.4, "suffix:x", "14.4x"),
        (float("nan"), "s", "no data"),
        (float("inf"), "short", "∞"),
    ],
)
def test_a_number_is_written_with_its_unit_and_few_digits(value: float, unit: str, text: str) -> None:
    assert wording.number(value, unit) == text


@pytest.mark.parametrize("unit", Unit)
def test_every_unit_of_ours_can_be_written(unit: Unit) -> None:
    assert wording.number(1.0, unit.value)


def test_a_unit_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(KeyError):
        wording.number(1.0, "furlongs")


def test_a_legend_is_made_of_the_labels() -> None:
    labels = {"pool": "agents", "state": "idle"}
    assert wording.legend("{{pool}}: {{ state }}", labels) == "agents: idle"
    assert wording.legend("", labels) == "pool=agents, state=idle"


def test_a_word_stands_for_the_numbers_between_its_bounds() -> None:
    mappings = [{"options": {"from": 3, "to": None, "result": {"text": "left alone", "color": "red"}}}]
    assert wording.word(2.9, mappings) is None
    assert wording.word(3.0, mappings) == ("left alone", "#f2495c")


def test_the_last_threshold_that_is_reached_gives_the_colour() -> None:
    steps = [{"value": None, "color": "green"}, {"value": 1, "color": "orange"}, {"value": 14.4, "color": "red"}]
    assert [wording.colour(value, steps) for value in (0.9, 1.0, 20.0)] == ["#73bf69", "#ff9830", "#f2495c"]
