"""Redis in a rollback: only the caches go, whatever else lies there and however little the user may do."""

from __future__ import annotations

import pytest
import redis

from scripts.reversal import redis_side
from scripts.reversal.failures import RefusedError
from service.redis_keys import CATALOGUE, Kind
from tests.rollbacks.places import runbook_rights
from tests.unit.reversal.filled import fill_redis


def nothing(_: object) -> None:
    """Nobody is told anything, and nobody waits."""


def dumped(store: redis.Redis) -> dict[bytes, bytes]:
    """Every key with what is in it."""
    keys = list(store.scan_iter(count=5000))
    with store.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.dump(key)
        return dict(zip(keys, pipeline.execute(), strict=True))


@pytest.fixture
def bounded(store: redis.Redis, redis_url: str):
    """A client whose user has the rights of the runbook."""
    store.execute_command("ACL", "SETUSER", "rollback", "on", ">pw", *runbook_rights())
    client = redis.Redis.from_url(redis_url, username="rollback", password="pw", socket_timeout=5)
    yield client
    client.close()
    store.execute_command("ACL", "DELUSER", "rollback")


def test_ten_thousand_keys_of_others_are_not_touched(store: redis.Redis) -> None:
    fill_redis(store, ours=3000, others=10_000)
    before = dumped(store)
    before = {key: value for key, value in before.items() if not key.startswith(b"vocero:cache:")}
    told: list[int] = []
    store.config_resetstat()
    assert redis_side.clear_caches(store, told.append, nothing) == 3000
    called = {name.removeprefix("cmdstat_") for name in store.info("commandstats")}
    assert called & {"keys", "flushall", "flushdb"} == set()
    assert told[-1] == 3000
    assert dumped(store) == before
    assert redis_side.clear_caches(store, nothing, nothing) == 0


def test_a_user_who_may_neither_flush_nor_list_is_enough(bounded: redis.Redis, store: redis.Redis) -> None:
    fill_redis(store)
    for forbidden in ("FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "EVAL return 0"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            bounded.execute_command(*forbidden.split())
    redis_side.check(bounded)
    assert redis_side.take_inventory(bounded).keys["vocero:cache:"] == 300
    assert redis_side.clear_caches(bounded, nothing, nothing) == 300


def test_a_user_who_may_not_even_look_is_refused_before_anything(store: redis.Redis, redis_url: str) -> None:
    store.execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~*", "-@all", "+ping", "+select")
    client = redis.Redis.from_url(redis_url, username="blind", password="pw")
    with client, pytest.raises(RefusedError, match="no permissions to run the 'scan' command"):
        redis_side.check(client)
    store.execute_command("ACL", "DELUSER", "blind")


def test_only_namespaces_that_are_called_caches_are_cleared(store: redis.Redis) -> None:
    for namespace in CATALOGUE:
        store.set(namespace.prefix + ("x" if namespace.prefix.endswith(":") else ""), "kept")
    redis_side.clear_caches(store, nothing, nothing)
    left = {key.decode() for key in store.scan_iter(count=1000)}
    kept = [namespace for namespace in CATALOGUE if namespace.kind is not Kind.CACHE]
    assert left == {namespace.prefix + ("x" if namespace.prefix.endswith(":") else "") for namespace in kept}


def test_the_inventory_counts_by_namespace_and_changes_nothing(store: redis.Redis) -> None:
    fill_redis(store)
    found = redis_side.take_inventory(store)
    assert {prefix: count for prefix, count in found.keys.items() if count} == {
        "vocero:cache:": 300,
        "vocero:session:": 100,
        "vocero:ticket:": 1,
        "vocero:override:": 1,
        "vocero:conversation:": 1,
    }
    assert (found.total, found.share) == (300 + 100 + 100 + 4, 1.0)


def test_a_large_redis_is_sampled_and_the_inventory_says_so(
    store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_redis(store, ours=2000, others=2000)
    monkeypatch.setattr(redis_side, "MOST_LOOKS", 2)
    found = redis_side.take_inventory(store)
    assert 0 < found.share < 0.5
    assert 0 < found.keys["vocero:cache:"] < 2000


def test_between_two_batches_the_server_has_as_much_time_as_it_took(store: redis.Redis) -> None:
    fill_redis(store, ours=2000, others=0)
    pauses: list[float] = []
    redis_side.clear_caches(store, nothing, pauses.append)
    assert len(pauses) >= 4
    assert min(pauses) >= 0.001
