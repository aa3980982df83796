"""What becomes of the numbers: quantiles, rounds put together, goals, tallies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contests.half_load import conversations_for_half
from benchmarks.generator.conversation_load import Outcome
from benchmarks.generator.plans import Tally
from benchmarks.goals import Row
from benchmarks.numbers import Pooled, Total, combine, quantile, readable
from benchmarks.processes import Usage


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=50), st.floats(0.01, 1))
def test_a_quantile_is_the_smallest_value_that_the_share_does_not_exceed(values: list[int], share: float) -> None:
    found = quantile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)


def test_the_p99_of_a_hundred_is_the_second_largest() -> None:
    assert quantile(list(range(100)), 0.99) == 98


def test_rounds_are_pooled_by_amount_and_count_not_averaged() -> None:
    assert combine([{"cpu": Pooled(10, 1)}, {"cpu": Pooled(10, 9)}]) == {"cpu": 2}


def test_one_bad_round_does_not_move_a_median() -> None:
    assert combine([{"delay": 1.0}, {"delay": 900.0}, {"delay": 2.0}]) == {"delay": 2}


def test_losses_of_all_rounds_are_counted() -> None:
    assert combine([{"lost": Total(0)}, {"lost": Total(3)}, {"lost": Total(1)}]) == {"lost": 4}


def test_a_number_of_one_round_only_is_kept_and_one_pooled_over_nothing_is_not() -> None:
    assert combine([{"memory": 30.0, "cpu": Pooled(5, 0)}, {}]) == {"memory": 30}


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.05678, "0.0568"), (12.34, "12.3"), (98765.4, "98765")])
def test_a_number_is_written_with_the_digits_that_mean_something(value: float, text: str) -> None:
    assert readable(value) == text


# --- Goals

RATIO = Row("cpu", "µs", "CPU, {conversations} at once", times_nginx=1.5)


@pytest.mark.parametrize(("ours", "verdict"), [(15.0, "met"), (15.1, "MISSED")])
def test_a_goal_of_so_many_times_nginx_is_judged_by_the_ratio(ours: float, verdict: str) -> None:
    assert RATIO.verdict({"service": {"cpu": ours}, "nginx": {"cpu": 10.0}}) == verdict


@pytest.mark.parametrize("values", [{}, {"service": {"cpu": 5.0}}, {"service": {"cpu": 5.0}, "nginx": {"cpu": 0.0}}])
def test_a_goal_without_what_it_is_measured_by_is_neither_met_nor_missed(values: dict[str, dict[str, float]]) -> None:
    assert RATIO.is_met(values) is None
    assert RATIO.verdict(values) == "not measured"


@pytest.mark.parametrize(("ours", "is_met"), [(0.0, True), (1.0, False)])
def test_a_single_lost_message_misses_the_goal_of_none(ours: float, is_met: bool) -> None:
    assert Row("lost", "", "lost", at_most=0).is_met({"service": {"lost": ours}}) is is_met


@pytest.mark.parametrize(("ours", "is_met"), [(3500.0, True), (3499.0, False)])
def test_a_goal_may_be_a_number_to_reach(ours: float, is_met: bool) -> None:
    assert Row("carried", "", "carried", at_least=3500).is_met({"service": {"carried": ours}}) is is_met


def test_a_row_without_a_goal_only_informs() -> None:
    row = Row("rate", "1/s", "messages")
    assert (row.goal, row.verdict({"service": {"rate": 1.0}})) == ("", "")


def test_a_rows_name_says_what_was_found_out_in_the_run() -> None:
    assert RATIO.title({"service": {"conversations": 800.0}}) == "CPU, 800 at once"
    assert RATIO.title({}) == "CPU, ? at once"


# --- Half a core


@pytest.mark.parametrize(
    ("worker", "load", "conversations"),
    [
        (0.05, 0.05, 1000),  # 50 µs a message: 10,000 of them keep half a core busy
        (0.10, 0.05, 500),
        (0.01, 0.05, 1800),  # the load's core is full before the relay's is half so
    ],
)
def test_half_a_core_is_told_by_what_a_message_costs_however_long_it_took(
    worker: float, load: float, conversations: int
) -> None:
    for seconds in (1.0, 30.0):
        usage = Usage(seconds=seconds, client=load / 2, upstream=load / 2, worker=worker, others=0)
        assert conversations_for_half(usage, 1000, load_cores=1) == conversations


# --- Tallies


def tally(sent: int = 0, received: int = 0, disordered: int = 0, delays: tuple[int, ...] = ()) -> Tally:
    return Tally(sent=sent, received=received, disordered=disordered, delays=list(delays))


def test_a_message_lost_one_way_is_not_made_up_for_by_one_too_many_the_other_way() -> None:
    outcome = Outcome(client=tally(sent=5, received=7), agent=tally(sent=6, received=4))
    assert outcome.wrong == 2


def test_messages_out_of_turn_are_wrong_though_all_arrived() -> None:
    outcome = Outcome(client=tally(sent=5, received=6, disordered=2), agent=tally(sent=6, received=5, disordered=1))
    assert (outcome.wrong, outcome.messages) == (3, 11)


def test_delays_are_of_both_ways_in_milliseconds() -> None:
    assert sorted(Outcome(client=tally(delays=(1500,)), agent=tally(delays=(250, 40))).delays) == [0.04, 0.25, 1.5]
