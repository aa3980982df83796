"""The last hour in columns and sums."""

from __future__ import annotations

from dashboard.sight.history import see_history
from service.minute_history import Minute


def _minutes() -> list[Minute]:
    quiet = [Minute(start=60.0 * number, counts={}) for number in range(59)]
    busy = Minute(
        start=59 * 60.0,
        counts={"conversations": 3.0, "requests": 8.0, "errors": 2.0, "failovers": 1.0, "first_audio_le_0.5": 10.0},
    )
    return [*quiet, busy]


def test_a_minute_in_which_nobody_spoke_is_a_gap_and_not_a_zero() -> None:
    history = see_history(_minutes())
    assert len(history.starts) == len(history.first_audio_p95) == 60
    assert history.first_audio_p50[:59] == (None,) * 59
    assert 0.3 < (history.first_audio_p50[59] or 0) < (history.first_audio_p95[59] or 0) <= 0.5
    assert history.errors[58:] == (0, 2)


def test_the_hour_and_the_last_five_minutes_are_summed() -> None:
    history = see_history(_minutes())
    assert (history.hour.conversations, history.hour.errors, history.hour.error_share) == (3, 2, 0.25)
    assert (history.lately.minutes, history.lately.failovers, history.lately.start) == (5, 1, 55 * 60.0)
    assert [step.requests for step in history.steps] == [0] * 11 + [8]


def test_without_any_minute_everything_is_empty() -> None:
    history = see_history(())
    assert (history.starts, history.hour.requests, history.hour.first_audio_p50, history.steps) == ((), 0, None, ())


def test_a_pool_is_told_by_means_and_one_that_goes_on_has_no_mean_yet() -> None:
    over = Minute(
        start=0.0,
        counts={
            "pool_agents_lent_seconds": 90.0,
            "pool_agents_callers": 4.0,
            "pool_agents_wait_seconds": 1.0,
            "pool_agents_refused": 1.0,
        },
    )
    goes_on = Minute(start=60.0, counts={"pool_agents_lent_seconds": 5.0})
    history = see_history((over, goes_on))
    agents = history.pools["agents"]
    assert agents.lent == (1.5, None)
    assert agents.mean_wait_seconds == (0.25, None)
    assert agents.refused == (1, 0)
    assert history.hour.pools["agents"].lent == 1.5
    assert history.pools["speech"].mean_wait_seconds == (None, None)
