"""What a history says about a run: crafted ones, in which it is known what should be seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.contests.catalogue import LOADS
from benchmarks.contests.contest import Result
from benchmarks.history import (
    Entry,
    append_history,
    entries_of,
    is_whole,
    last_run,
    ratios,
    read_history,
    regressions,
)

FLOOD = LOADS["flood"]


def entry(value: float, day: int = 1, metric: str = "cpu_up_over_nginx", machine: str = "2 cores, ours") -> Entry:
    return Entry(f"2026-01-{day:02}T00:00:00+00:00", "c0ffee", machine, "flood", "4 conversations", metric, value)


def runs(*values: float) -> list[Entry]:
    return [entry(value, day) for day, value in enumerate(values, 1)]


@pytest.mark.parametrize(("value", "is_seen"), [(1.09, False), (1.11, True), (0.5, False)])
def test_a_cost_more_than_ten_per_cent_above_the_median_is_seen(value: float, is_seen: bool) -> None:
    assert bool(regressions(runs(1.0, 0.9, 1.0, 1.1, 1.0), [entry(value, 9)])) is is_seen


def test_it_says_what_has_risen_by_how_much_and_against_what() -> None:
    (found,) = regressions(runs(1.0, 1.0, 1.0), [entry(1.25, 9)])
    assert str(found) == "flood/cpu_up_over_nginx: 1.25, 25 % above 1, the median of 3 runs"


def test_one_odd_run_is_not_the_measure() -> None:
    assert regressions(runs(1.0, 1.0, 0.2, 1.0, 1.0), [entry(1.05, 9)]) == []


def test_only_the_last_five_runs_count() -> None:
    assert regressions(runs(*[9.0] * 10, *[1.0] * 5), [entry(1.5, 20)])
    assert not regressions(runs(*[1.0] * 10, *[9.0] * 5), [entry(1.5, 20)])


def test_with_fewer_than_three_runs_before_nothing_is_said() -> None:
    assert regressions(runs(1.0, 1.0), [entry(5.0, 9)]) == []


@pytest.mark.parametrize(
    "change", [{"machine": "64 cores, theirs"}, {"parameters": "8 conversations"}, {"load": "flood-tls"}]
)
def test_runs_of_another_machine_or_load_are_not_compared(change: dict[str, str]) -> None:
    others = [replace(one, **change) for one in runs(1.0, 1.0, 1.0, 1.0)]
    assert regressions(others, [entry(5.0, 9)]) == []


@pytest.mark.parametrize("metric", ["cpu_up_service", "rate_up_over_nginx", "added_p99_service"])
def test_microseconds_rates_and_delays_are_remembered_but_not_judged(metric: str) -> None:
    past = [replace(one, metric=metric) for one in runs(1.0, 1.0, 1.0)]
    assert regressions(past, [entry(5.0, 9, metric)]) == []


def test_the_services_cpu_is_set_in_relation_to_nginx_and_to_the_load_without_a_relay() -> None:
    values = {"service": {"cpu_up": 12.0}, "nginx": {"cpu_up": 8.0}, "direct": {"own_up": 6.0}}
    assert ratios(FLOOD, values) == {"cpu_up_over_nginx": 1.5, "cpu_up_over_load": 2.0}


def test_without_nginx_there_is_still_a_cost_to_compare() -> None:
    past = [replace(one, metric="cpu_up_over_load") for one in runs(2.0, 2.0, 2.0)]
    result = Result("flood", 5, {"service": {"cpu_up": 15.0}, "direct": {"own_up": 6.0}})
    now = entries_of(
        replace(FLOOD, parameters="4 conversations"), result, date="x", commit="y", machine="2 cores, ours"
    )
    assert [found.entry.metric for found in regressions(past, now)] == ["cpu_up_over_load"]


def test_a_run_of_few_rounds_or_one_that_broke_is_not_remembered() -> None:
    whole = Result("flood", FLOOD.rounds, {"service": {}, "nginx": {}})
    assert is_whole(FLOOD, whole)
    assert is_whole(FLOOD, replace(whole, broken={"flask-sock": "ended early"}))
    assert not is_whole(FLOOD, replace(whole, rounds=FLOOD.rounds - 1))
    assert not is_whole(FLOOD, replace(whole, broken={"service": "ended early"}))
    assert not is_whole(FLOOD, replace(whole, values={"service": {}}))


def test_what_is_appended_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    assert read_history(path) == []
    append_history(path, runs(1.0))
    append_history(path, [entry(1.2346789, 2)])
    assert read_history(path) == [*runs(1.0), entry(1.235, 2)]


def test_the_history_that_is_kept_here_can_be_read() -> None:
    assert read_history(command.HISTORY)


def test_the_last_run_of_each_load_is_told_from_those_before() -> None:
    other = replace(entry(3.0, 1), load="pieces")
    before, last = last_run([*runs(1.0, 2.0), other])
    assert (before, last) == (runs(1.0), [entry(2.0, 2), other])


@pytest.mark.parametrize(("last", "exit_code"), [(1.0, 0), (1.5, 1)])
def test_the_command_fails_when_the_last_run_costs_more_than_those_before(
    last: float, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history.csv"
    append_history(path, runs(1.0, 1.0, 1.0, last))
    monkeypatch.setattr(command, "HISTORY", path)
    assert command.main(["--compare", "--check"]) == exit_code
    assert command.main(["--compare"]) == 0
    assert ("50 % above" in capsys.readouterr().err) is bool(exit_code)
