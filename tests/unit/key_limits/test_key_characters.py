"""The characters of a key's day: never over the limit, given back when nothing was spoken."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest
import redis
from structlog.testing import capture_logs

from service.errors import KeyQuotaError
from service.key_limits import characters_used
from service.key_limits.key_characters import KEPT_SECONDS, KeyCharacters


def test_a_text_that_is_more_than_what_is_left_is_refused_with_what_was_used(store: redis.Redis) -> None:
    here, there = KeyCharacters(store), KeyCharacters(store)
    here.take("shop", 60, limit=100)
    with pytest.raises(KeyQuotaError, match="60 are used, and the text has 41") as refused:
        there.take("shop", 41, limit=100)
    assert (refused.value.http_status, refused.value.code) == (401, "quota_exceeded")
    there.take("shop", 40, limit=100)
    there.take("another", 100, limit=100)
    assert characters_used(store, "shop") == 100


def test_many_at_once_do_not_go_over_it_together(store: redis.Redis) -> None:
    characters = KeyCharacters(store)

    def ask(_: int) -> bool:
        try:
            return characters.take("shop", 30, limit=100) is not None
        except KeyQuotaError:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(16))) == 3
    assert characters_used(store, "shop") == 90


def test_what_was_not_spoken_is_given_back(store: redis.Redis) -> None:
    characters = KeyCharacters(store)
    charge = characters.take("shop", 100, limit=100)
    assert charge is not None
    characters.give_back(charge)
    assert characters_used(store, "shop") == 0
    store.flushdb()  # lost meanwhile: a debt would be a gift
    characters.give_back(charge)
    assert characters_used(store, "shop") == 0


def test_each_day_has_a_count_of_its_own_that_goes_by_itself(store: redis.Redis) -> None:
    KeyCharacters(store).take("shop", 7, limit=100)
    today = datetime.now(UTC).date()
    (key,) = store.keys()
    assert key.startswith(b"vocero:key_characters:shop:")
    assert 0 < store.ttl(key) <= KEPT_SECONDS
    assert characters_used(store, "shop", date(2020, 1, 1)) == 0
    assert characters_used(store, "shop", date.fromisoformat(key.decode().rpartition(":")[2])) == 7
    assert abs((today - date.fromisoformat(key.decode().rpartition(":")[2])).days) <= 1


def test_without_redis_everything_is_let_through_and_that_is_said_once(no_redis: redis.Redis) -> None:
    characters = KeyCharacters(no_redis)
    with capture_logs() as lines:
        assert [characters.take("shop", 1000, limit=1) for _ in range(3)] == [None, None, None]
    assert [line["event"] for line in lines] == ["characters of API keys are not counted"]
