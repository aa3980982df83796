"""Speech and the limits of API keys, as the official SDK is told of them by the running service."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
import redis
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError

from scripts.launcher.waiting import wait_until
from service.key_limits import KeyBound, characters_used
from service.key_limits.key_leases import KeyLeases
from service.storage import ApiKey, ApiKeyLimits, ApiKeys, ApiScope, open_database
from tests.servers import RunningService

VOICE = "JBFqnCBsd6RMkjVDRZzb"
LIMIT = 20.0
Ask = Callable[..., bytes]
AskWith = Callable[..., tuple[ApiKey, Ask]]


@pytest.fixture
def ask_with(service: RunningService, database_url: str) -> Iterator[AskWith]:
    """A key with these limits, and the SDK with it: the sound of a text."""
    database, http = open_database(database_url, busy_seconds=20), httpx.Client(timeout=LIMIT)

    def make(**limits: object) -> tuple[ApiKey, Ask]:
        made, key = ApiKeys(database).create("limited", limits=ApiKeyLimits(**limits))  # type: ignore[arg-type]
        sdk = ElevenLabs(api_key=key, base_url=service.url, httpx_client=http)

        def ask(text: str = "Hello.", voice: str = VOICE) -> bytes:
            spoken = sdk.text_to_speech.convert(voice, text=text, output_format="pcm_16000")
            return b"".join(spoken)

        return made, ask

    yield make
    http.close()
    database.close()


@pytest.fixture
def store(valkey: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey) as store:
        yield store


def refused(ask: Ask, text: str = "Hello.", voice: str = VOICE) -> ApiError:
    with pytest.raises(ApiError) as caught:
        ask(text, voice)
    return caught.value


def test_a_key_for_conversations_alone_has_nothing_spoken(ask_with: AskWith) -> None:
    _, ask = ask_with(scopes=frozenset({ApiScope.CONVERSATION}))
    error = refused(ask)
    assert (error.status_code, error.body["detail"]["status"]) == (403, "missing_permissions")


def test_a_key_is_told_when_another_node_has_its_places_and_gets_them_when_they_are_free(
    ask_with: AskWith, store: redis.Redis
) -> None:
    made, ask = ask_with(max_concurrent=1)
    another_node = KeyLeases(store)
    lease = another_node.take(KeyBound(made.id, 1))
    error = refused(ask)
    assert (error.status_code, error.body["detail"]["status"]) == (429, "too_many_concurrent_requests")
    assert (error.headers or {})["retry-after"] == "1"
    another_node.give_back(lease)
    for _ in range(2):
        assert ask()
        # The answer is whole before its worker has told Redis.
        wait_until(lambda: not store.exists(f"vocero:key_use:{made.id}"), LIMIT, "the place is free")
    refused(ask, voice="nobody")
    assert not store.exists(f"vocero:key_use:{made.id}")


def test_the_characters_of_a_day_are_used_up_by_what_was_spoken_alone(ask_with: AskWith, store: redis.Redis) -> None:
    made, ask = ask_with(characters_per_day=10)
    assert refused(ask, voice="nobody").status_code == 404
    assert characters_used(store, made.id) == 0
    assert ask("Hello.")
    error = refused(ask, "Hello.")
    assert (error.status_code, error.body["detail"]["status"]) == (401, "quota_exceeded")
    assert "limit is 10 characters a day (UTC): 6 are used" in error.body["detail"]["message"]
    assert ask("Bye.")
    assert characters_used(store, made.id) == 10
