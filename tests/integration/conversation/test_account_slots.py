"""More want to talk than the account may: they wait in turn, are told if they ask, and are refused in time."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest

from tests.integration.conversation.conftest import assert_closed_with_error, read_to_the_close
from tests.integration.conversation.scripted_agent import LIMIT, running_agent

ASKS = "agent_id=agent_demo&queue_status=true"


@pytest.fixture
def agent():
    """One of the test's own: whoever still waits at its end reaches nobody else's."""
    with running_agent() as agent:
        yield agent


@pytest.fixture
def crowded(start_scripted, agent, new_redis):
    """A service whose account has one slot for conversations."""

    def start(wait_seconds: float, **settings: str):
        # A Redis database of its own: the slots of the account are shared by all that use one.
        return start_scripted(
            ELEVENLABS_BASE_URL=agent.url,
            VOCERO_AGENTS_CONCURRENCY="1",
            VOCERO_SLOT_WAIT_SECONDS=str(wait_seconds),
            VOCERO_RETRY_TOTAL_SECONDS="60",
            VOCERO_REDIS_URL=new_redis(),
            **settings,
        )

    return start


def kinds(client, count: int) -> list[tuple[str, object]]:
    events = [json.loads(client.recv(LIMIT)) for _ in range(count)]
    return [(event["type"], event.get(f"{event['type']}_event", {}).get("status")) for event in events]


def test_who_waits_is_told_its_place_and_begins_when_the_one_before_has_ended(crowded, dial, agent):
    service = crowded(30)
    first = dial(service)
    agent.next_conversation()
    assert kinds(first, 1) == [("conversation_initiation_metadata", None)]
    second = dial(service, ASKS)
    assert kinds(second, 1) == [("queue_status", "waiting")]
    place = json.loads(second.recv(LIMIT))
    assert place == {"type": "queue_position", "queue_position_event": {"position": 1, "expected_seconds": None}}
    first.close()
    agent.next_conversation()
    assert kinds(second, 2) == [("queue_status", "admitted"), ("conversation_initiation_metadata", None)]


def test_who_does_not_ask_hears_nothing_before_the_metadata(crowded, dial, agent):
    service = crowded(30)
    first = dial(service)
    agent.next_conversation()
    first.recv(LIMIT)
    second, witness = dial(service), dial(service, ASKS)
    assert kinds(witness, 1) == [("queue_status", "waiting")]  # so the one before waits too
    first.close()
    agent.next_conversation()
    assert kinds(second, 1) == [("conversation_initiation_metadata", None)]


def test_whose_turn_does_not_come_is_refused_as_elevenlabs_refuses(crowded, dial, agent):
    service = crowded(0.5)
    dial(service)
    agent.next_conversation()
    asks, does_not = dial(service, ASKS), dial(service)
    events, code, _ = read_to_the_close(asks)
    statuses = [event["queue_status_event"]["status"] for event in events if event["type"] == "queue_status"]
    assert (statuses, events[-1]["type"], code) == (["waiting", "timed_out"], "error", 3008)
    assert_closed_with_error(does_not, 3008, "try again")


def test_too_many_that_wait_are_refused_at_once(crowded, dial, agent):
    service = crowded(30, VOCERO_SLOT_MAX_WAITING="1")
    dial(service)
    agent.next_conversation()
    assert kinds(dial(service, ASKS), 1) == [("queue_status", "waiting")]
    assert_closed_with_error(dial(service), 3008, "try again")


def test_a_conversation_that_was_refused_upstream_gives_its_slot_back(crowded, dial, agent):
    service = crowded(30)
    agent.refuse_with, agent.refuse_body = HTTPStatus.UNAUTHORIZED, "{}"
    try:
        for _ in range(3):  # one slot: the second would wait in vain for it
            read_to_the_close(dial(service))
    finally:
        agent.refuse_with = None
    client = dial(service)
    agent.next_conversation()
    assert kinds(client, 1) == [("conversation_initiation_metadata", None)]
