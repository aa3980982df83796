"""The places of an API key: shared by all nodes, kept by those who live, free again when their work is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from prometheus_client import REGISTRY
from redis.client import Pipeline
from structlog.testing import capture_logs

from scripts.launcher.waiting import wait_until
from service.errors import KeyBusyError
from service.key_limits.key_leases import KeyBound, KeyLease, KeyLeases

SHOP = KeyBound("shop", 2)
PLACE = "vocero:key_use:shop"
LIMIT = 10.0


def take(leases: KeyLeases, bound: KeyBound = SHOP) -> KeyLease | None:
    try:
        return leases.take(bound)
    except KeyBusyError:
        return None


def refusals() -> float:
    return REGISTRY.get_sample_value("vocero_api_key_refusals_total", {"reason": "concurrency"}) or 0.0


def test_all_nodes_together_have_the_keys_places_and_no_more(store: redis.Redis) -> None:
    here, there = KeyLeases(store), KeyLeases(store)
    first, second, before = take(here), take(there), refusals()
    assert first is not None
    assert second is not None
    with pytest.raises(KeyBusyError, match="2 conversations and requests") as refused:
        there.take(SHOP)
    assert (refused.value.http_status, refused.value.close_code, refused.value.retry_after) == (429, 3008, 1.0)
    assert refusals() == before + 1
    assert take(there, KeyBound("another", 1)) is not None
    here.give_back(first)
    here.give_back(first)
    assert [take(there) is not None, take(there) is not None] == [True, False]


def test_a_key_that_uses_none_of_its_places_leaves_nothing_in_redis(store: redis.Redis) -> None:
    leases = KeyLeases(store)
    leases.give_back(leases.take(SHOP))
    assert store.keys() == []


def test_the_place_of_a_worker_that_died_is_free_when_its_lease_has_run_out(store: redis.Redis) -> None:
    died = KeyLeases(store, ttl_seconds=0.2)
    assert [take(died) is not None for _ in range(3)] == [True, True, False]
    wait_until(lambda: take(KeyLeases(store)) is not None, LIMIT, "a place is free")


@pytest.fixture
def start(store: redis.Redis) -> Iterator[Callable[[], KeyLeases]]:
    started: list[KeyLeases] = []

    def start() -> KeyLeases:
        started.append(KeyLeases(store, ttl_seconds=0.3))
        started[-1].start()
        return started[-1]

    yield start
    for leases in started:
        leases.close()


def test_a_place_is_kept_for_as_long_as_its_worker_lives(store: redis.Redis, start: Callable[[], KeyLeases]) -> None:
    lease = start().take(SHOP)

    def runs_out_at() -> float:
        return store.zscore(PLACE, lease.id) or 0.0

    first = runs_out_at()
    wait_until(lambda: runs_out_at() > first + 600, LIMIT, "it was renewed past its first two ends")


def test_what_runs_is_entered_again_in_a_redis_that_has_lost_it(store: redis.Redis) -> None:
    leases = KeyLeases(store)
    held = [take(leases), take(leases)]
    store.flushdb()
    leases.renew()
    assert store.zcard(PLACE) == 2
    assert take(KeyLeases(store)) is None
    assert None not in held


def test_what_goes_on_from_another_worker_is_counted_and_never_refused(store: redis.Redis) -> None:
    died, here = KeyLeases(store), KeyLeases(store)
    assert [take(died) is not None, take(died) is not None] == [True, True]
    entered = here.enter("shop")
    assert store.zcard(PLACE) == 3
    here.give_back(entered)
    assert store.zcard(PLACE) == 2


class Late(redis.Redis):
    """Does something between the look at what is held and the renewal."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def pipeline(self, *args: Any, **options: Any) -> Pipeline:
        self.meanwhile()
        return super().pipeline(*args, **options)


def test_a_place_that_is_given_back_while_it_is_renewed_is_free(store: redis.Redis) -> None:
    with Late(connection_pool=store.connection_pool) as late:
        leases = KeyLeases(late)
        lease = leases.take(SHOP)
        late.meanwhile = lambda: leases.give_back(lease)
        leases.renew()
    assert store.exists(PLACE) == 0


def test_without_redis_each_worker_counts_its_own_and_says_so_once(no_redis: redis.Redis) -> None:
    here, there = KeyLeases(no_redis), KeyLeases(no_redis)
    with capture_logs() as lines:
        first = take(here)
        assert first is not None
        assert [take(here) is not None, take(here) is not None] == [True, False]
        here.renew()
        here.give_back(first)
        assert take(here) is not None
    assert [line["event"] for line in lines] == ["places of API keys are counted in this worker alone"]
    assert take(there) is not None
