"""What a key's limits mean for a request, and that a key without any costs nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from service.errors import KeyBusyError, KeyQuotaError, NotAllowedError
from service.key_limits import KeyBound, KeyLimits, bound_of, characters_used, require_scope
from service.storage import ApiKey, ApiKeyLimits, ApiScope


def key(**limits: Any) -> ApiKey:
    made = datetime(2026, 11, 1, tzinfo=UTC)
    return ApiKey("shop", "Shop", "abcd", made, None, None, ApiKeyLimits(**limits))


class Unasked(redis.Redis):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        raise AssertionError("Redis was asked")


def test_a_key_without_limits_may_do_everything_and_redis_is_not_asked() -> None:
    limits = KeyLimits(Unasked())
    for scope in ApiScope:
        require_scope(key(), scope)
    assert bound_of(key()) is None
    assert limits.begin_speech(key(), 10_000) is None
    with limits.place(None):
        pass


def test_a_key_is_for_what_its_scopes_say() -> None:
    for_speech = key(scopes=frozenset({ApiScope.SPEECH}))
    require_scope(for_speech, ApiScope.SPEECH)
    with pytest.raises(NotAllowedError, match="lacks the scope conversation") as refused:
        require_scope(for_speech, ApiScope.CONVERSATION)
    assert (refused.value.http_status, refused.value.code) == (403, "missing_permissions")


def test_conversations_and_speech_share_the_places(store: redis.Redis) -> None:
    limits, shop = KeyLimits(store), key(max_concurrent=1)
    with limits.place(bound_of(shop)), pytest.raises(KeyBusyError):
        limits.begin_speech(shop, 1)
    use = limits.begin_speech(shop, 1)
    assert use is not None
    with pytest.raises(KeyBusyError), limits.place(KeyBound("shop", 1)):
        pass
    use.end()
    with limits.place(bound_of(shop)):
        pass


def test_a_text_too_much_takes_no_place_and_a_request_without_sound_costs_no_characters(store: redis.Redis) -> None:
    limits, shop = KeyLimits(store), key(max_concurrent=1, characters_per_day=10)
    with pytest.raises(KeyQuotaError):
        limits.begin_speech(shop, 11)
    failed = limits.begin_speech(shop, 10)
    assert failed is not None
    failed.undo()
    assert characters_used(store, "shop") == 0
    heard = limits.begin_speech(shop, 10)
    assert heard is not None
    heard.end()
    assert characters_used(store, "shop") == 10
