"""The last two hours by the minute, in a real Valkey: added up over workers, kept while it is away, read back."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.metrics_conversations import EndReason, TurnOutcome, conversation_ended, first_audio_came, turn_ended
from service.metrics_elevenlabs import Operation, RequestOutcome, error_happened, request_ended
from service.metrics_elevenlabs_codes import FaultDomain
from service.metrics_fallback import FailoverCause, provider_switched
from service.minute_history import MinuteCount, MinuteHistory, quantile, read_minutes
from service.minute_tally import TALLY, MinuteTally
from service.storage import Capability
from tests.servers import free_port


def test_what_several_workers_tell_is_added_up_in_the_minute_of_redis_clock(store: redis.Redis) -> None:
    for turns in (2, 3):
        tally = MinuteTally()
        tally.add(MinuteCount.TURNS, turns)
        tally.add_first_audio(0.3)
        tally.add_first_audio(9.0)
        history = MinuteHistory(store, tally)
        history.tell()
        history.tell()  # nothing new
    minutes = read_minutes(store, minutes=3)
    assert [later.start - earlier.start for earlier, later in itertools.pairwise(minutes)] == [60, 60]
    assert {name: sum(minute.counts.get(name, 0) for minute in minutes) for name in minutes[-1].counts} == {
        "turns": 5, "first_audio_le_0.3": 2, "first_audio_le_inf": 2,
    }  # fmt: skip
    (key,) = store.scan_iter()
    assert 0 < store.ttl(key) <= 7200


def test_what_could_not_be_told_is_told_when_redis_is_back(store: redis.Redis) -> None:
    tally = MinuteTally()
    history = MinuteHistory(redis.Redis(port=free_port(), retry=Retry(NoBackoff(), 0)), tally)
    for _ in range(3):
        tally.add(MinuteCount.FAILOVERS)
        with pytest.raises(redis.RedisError):
            history.tell()
    history._store = store
    history.tell()
    assert sum(minute.counts.get("failovers", 0) for minute in read_minutes(store, minutes=2)) == 3


def test_minutes_in_which_nothing_happened_are_there_and_what_makes_no_sense_is_none(store: redis.Redis) -> None:
    store.hset("vocero:cache:minutes:1000", mapping={"turns": "7", "coffee": "1", "requests": "many", b"\xff": "1"})
    minutes = read_minutes(store, minutes=60, now=60_030.0)
    assert (len(minutes), minutes[0].start, minutes[-1].start) == (60, 56_460.0, 60_000.0)
    assert minutes[-1].counts == {"turns": 7.0, "requests": 0.0}
    assert all(minute.counts == {} for minute in minutes[:-1])
    assert len(read_minutes(store, minutes=10**9, now=60_030.0)) == 120
    assert len(read_minutes(store, minutes=-5, now=60_030.0)) == 1


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ({}, 0.5, None),
        ({"turns": 9.0}, 0.5, None),
        ({"first_audio_le_0.5": 10}, 0.5, 0.4),
        ({"first_audio_le_0.3": 5, "first_audio_le_0.5": 5}, 0.5, 0.3),
        ({"first_audio_le_0.3": 5, "first_audio_le_1": 5}, 0.9, 0.95),
        ({"first_audio_le_0.3": 1, "first_audio_le_inf": 9}, 0.95, 5.0),
        ({"first_audio_le_2": 4}, 1.0, 2.0),
        ({"first_audio_le_2": 4}, 0.0, 1.5),
    ],
)
def test_a_quantile_is_linear_within_its_bucket(counts: dict[str, float], share: float, seconds: float | None) -> None:
    found = quantile(counts, share)
    assert found is None if seconds is None else found == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("tell", "counts"),
    [
        (lambda: turn_ended("elevenlabs", TurnOutcome.ANSWERED, seconds=1.0), {"turns": 1}),
        (lambda: first_audio_came("elevenlabs", 0.6), {"first_audio_le_0.75": 1}),
        (lambda: conversation_ended("client", EndReason.NORMAL, seconds=1.0), {}),
        (lambda: conversation_ended("agent", EndReason.PROVIDER_FAILED, seconds=1.0), {"ended_badly": 1}),
        (lambda: request_ended(Operation.SPEECH, RequestOutcome.SUCCESS), {"requests": 1, "speech_requests": 1}),
        (lambda: request_ended(Operation.CONVERSATION, RequestOutcome.FAILURE), {"requests": 1}),
        (lambda: request_ended(Operation.SIGNED_URL, RequestOutcome.SUCCESS), {}),
        (lambda: error_happened(Operation.SPEECH, FaultDomain.PROVIDER, "http_500"), {"errors": 1}),
        (lambda: error_happened(Operation.SPEECH, FaultDomain.CALLER, "bad_request"), {}),
        (lambda: provider_switched(Capability.SPEECH, "elevenlabs", "local", FailoverCause.BUSY), {"failovers": 1}),
        (lambda: provider_switched(Capability.SPEECH, "local", "elevenlabs", FailoverCause.RETURNED), {}),
    ],
)
def test_what_the_metrics_are_told_is_counted_for_the_minute_too(
    tell: Callable[[], None], counts: dict[str, int]
) -> None:
    TALLY.take()
    tell()
    assert TALLY.take() == counts
