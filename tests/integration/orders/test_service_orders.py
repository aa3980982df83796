"""A real worker: what it tells of itself in Redis, and what it does when it is ordered to."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from scripts.launcher.waiting import wait_until
from service.metrics_platform import OrderKind
from service.minute_history import MinuteCount, read_minutes
from service.orders import OrderAnswer, OrderDesk
from service.pool_reports import WorkerReport, list_reports
from tests.servers import RunningService

SECONDS = 10
INITIATION = json.dumps({"type": "conversation_initiation_client_data"})
Give = Callable[..., OrderAnswer]


@pytest.fixture
def store(valkey: str) -> Iterator[redis.Redis]:
    """Where the session's service takes orders and reports."""
    with redis.Redis.from_url(valkey, socket_timeout=5) as client:
        yield client


@pytest.fixture
def report(store: redis.Redis, service: RunningService) -> Callable[[], WorkerReport]:
    """What the service's worker tells now."""

    def find() -> WorkerReport:
        (found,) = [each for each in list_reports(store) if each.worker == str(service.worker_pids()[0])]
        return found

    return find


@pytest.fixture
def give(store: redis.Redis, report: Callable[[], WorkerReport]) -> Give:
    """Give an order to that worker and wait for its answer."""
    desk = OrderDesk(store)

    def give(kind: OrderKind, **arguments: Any) -> OrderAnswer:
        found = report()
        order = desk.give(kind, target=f"{found.node}/{found.worker}", arguments=arguments, author="ada")
        (answer,) = desk.wait(order.id, until=bool, timeout=SECONDS)
        sound = desk.sound(order.id)
        return answer if sound is None else OrderAnswer(**{**vars(answer), "details": {**answer.details, "wav": sound}})

    return give


def test_a_worker_tells_all_that_admins_want_to_see(report: Callable[[], WorkerReport]) -> None:
    wait_until(lambda: set(report().dependencies.values()) == {"ok"}, SECONDS, "it has looked at what it needs")
    found = report()
    assert found.capacity > 0
    assert found.started_at > 0
    assert not found.draining
    assert found.sandbox
    assert found.secrets is not None
    assert found.secrets["state"] == "fresh"
    assert "sandbox-key" not in repr(found)
    assert set(found.modes) == {"conversation", "speech"}
    assert found.chains["conversation"][0] == "elevenlabs"
    assert {(each.provider, each.capability) for each in found.breakers} >= {("elevenlabs", "speech")}
    assert {each.name for each in found.pools} == {"agents", "speech"}


def test_a_conversation_is_ended_as_clients_understand_it(
    service: RunningService, store: redis.Redis, give: Give, report: Callable[[], WorkerReport]
) -> None:
    with connect(f"{service.ws_url}/v1/convai/conversation?agent_id=agent_demo", close_timeout=1) as client:
        client.send(INITIATION)
        metadata = json.loads(client.recv(SECONDS))["conversation_initiation_metadata_event"]
        wait_until(lambda: report().speaking == {"elevenlabs": 1}, SECONDS, "it tells who speaks")
        answer = give(OrderKind.CONVERSATION_END, conversation_id=metadata["conversation_id"])
        assert (answer.is_done, answer.text) == (True, "The conversation is ended.")
        with pytest.raises(ConnectionClosed):
            while True:
                client.recv(SECONDS)
        assert (client.close_code, client.close_reason) == (1000, "An operator has ended the conversation.")
    wait_until(lambda: report().speaking == {}, SECONDS, "nobody speaks")
    wait_until(lambda: total(store, MinuteCount.CONVERSATIONS) > 0, SECONDS, "it is in its minute")


def total(store: redis.Redis, count: MinuteCount) -> float:
    return sum(minute.counts.get(count.value, 0) for minute in read_minutes(store, minutes=120))


def test_a_pool_is_resized_drained_and_refilled_by_its_name(give: Give, report: Callable[[], WorkerReport]) -> None:
    (before,) = [pool for pool in report().pools if pool.name == "speech"]
    answer = give(OrderKind.POOL_RESIZE, pool="speech", min_idle=0, max_size=before.max_size + 1)
    assert answer.is_done
    held = {"min_idle": before.min_idle, "max_size": before.max_size}
    assert answer.details == {"before": held, "min_idle": 0, "max_size": before.max_size + 1}
    assert answer.said == "pool_resized"
    wait_until(
        lambda: before.max_size + 1 in [pool.max_size for pool in report().pools], SECONDS, "the report shows it"
    )
    give(OrderKind.POOL_RESIZE, pool="speech", min_idle=before.min_idle, max_size=before.max_size)
    assert give(OrderKind.POOL_DRAIN, pool="agents").is_done
    assert give(OrderKind.POOL_REFILL, pool="speech").is_done


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (OrderKind.POOL_RESIZE, {"pool": "speech", "min_idle": 5, "max_size": 4}, "min_idle"),
        (OrderKind.POOL_RESIZE, {"pool": "speech", "min_idle": 0, "max_size": 10**9}, "from 1 to 50000"),
        (OrderKind.POOL_RESIZE, {"pool": "speech", "min_idle": 0, "max_size": True}, "whole number"),
        (OrderKind.POOL_RESIZE, {"pool": "agents", "min_idle": 3, "max_size": 9}, "without connections that lie ready"),
        (OrderKind.POOL_DRAIN, {"pool": "coffee"}, "agents, speech"),
        (OrderKind.POOL_DRAIN, {"pool": "speech", "force": True}, "no others: pool"),
        (OrderKind.CANARY, {"provider": "acme", "capability": "speech"}, "no such provider"),
        (OrderKind.CANARY, {"provider": "elevenlabs", "capability": "song"}, "conversation or speech"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_in_words(
    give: Give, kind: OrderKind, arguments: dict[str, Any], words: str
) -> None:
    answer = give(kind, **arguments)
    assert not answer.is_done
    assert words in answer.text


def test_a_canary_can_be_heard_and_a_conversation_is_tried(give: Give) -> None:
    assert give(OrderKind.CANARY, provider="elevenlabs", capability="conversation").is_done
    answer = give(OrderKind.CANARY, provider="elevenlabs", capability="speech")
    assert answer.is_done, answer.text
    with wave.open(io.BytesIO(answer.details["wav"])) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16_000, 1, 2)
        assert sound.getnframes() * 2 == answer.details["bytes"]
    assert 0 < answer.details["first_byte_seconds"] <= answer.details["seconds"]


def test_keys_are_looked_up_again_and_secrets_of_the_environment_say_that_they_stay(give: Give) -> None:
    assert give(OrderKind.KEYS_FORGET).is_done
    answer = give(OrderKind.SECRETS_REFRESH)
    assert not answer.is_done
    assert "restarted" in answer.text
