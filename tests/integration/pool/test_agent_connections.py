"""Conversations begin on connections that lie ready, and nobody notices when one of those has died."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from scripts.launcher.waiting import wait_until
from service.elevenlabs.elevenlabs_service import ElevenLabsService, LiveConversation
from service.elevenlabs.keys import KeyChoice
from service.elevenlabs.pool_options import PoolOptions
from service.errors import (
    PoolExhaustedError,
    PoolTimeoutError,
    UpstreamConnectError,
    UpstreamError,
)
from service.pool_stats import PoolStats
from service.secret import Secret
from tests.integration.pool.warm_upstream import LIMIT, WarmUpstream
from tests.keys import one_key

Start = Callable[..., ElevenLabsService]
TWO_READY = PoolOptions(min_idle=2, max_size=10)
NONE_READY = PoolOptions(max_size=10)


def agents(service: ElevenLabsService) -> PoolStats:
    return next(stats for stats in service.pool_stats() if stats.name == "agents")


def open_one(service: ElevenLabsService, agent_id: str = "agent_one", **options: Any) -> LiveConversation:
    return service.open_conversation(agent_id, {"type": "conversation_initiation_client_data"}, **options)


@contextmanager
def talking(service: ElevenLabsService, agent_id: str = "agent_one", **options: Any) -> Iterator[LiveConversation]:
    conversation = open_one(service, agent_id, **options)
    try:
        yield conversation
    finally:
        conversation.socket.abort()  # without the wait for a goodbye


def wait_for_signed(upstream: WarmUpstream, count: int) -> None:
    wait_until(lambda: len(upstream.signed_for) >= count, LIMIT, f"{count} signed URLs")


def test_a_conversation_begins_on_a_connection_that_stood_before_it_was_asked_for(
    upstream: WarmUpstream, start_elevenlabs: Start
) -> None:
    service = start_elevenlabs(agents_pool=TWO_READY)
    ready = upstream.wait_until_warm(2)
    with talking(service) as conversation:
        theirs = upstream.next_conversation()
        theirs.greet()
        assert conversation.receive_event(LIMIT) is not None
        assert theirs.number in ready
        assert theirs.query["conversation_signature"] in {"cvtkn_1", "cvtkn_2"}
        # Another takes its place, and another URL that of the one that is used up.
        assert theirs.number not in upstream.wait_until_warm(2)
        wait_for_signed(upstream, 3)


def test_every_signed_url_is_used_once(upstream: WarmUpstream, start_elevenlabs: Start) -> None:
    service = start_elevenlabs(agents_pool=TWO_READY)
    upstream.wait_until_warm(2)
    opened = [open_one(service) for _ in range(6)]
    tokens = [upstream.next_conversation().query["conversation_signature"] for _ in opened]
    assert len(set(tokens)) == 6
    for conversation in opened:
        conversation.socket.abort()


def test_connections_that_the_server_ended_while_they_lay_ready_are_not_noticed(
    upstream: WarmUpstream, start_elevenlabs: Start
) -> None:
    service = start_elevenlabs(agents_pool=TWO_READY)
    dead = upstream.wait_until_warm(2)
    upstream.end_ready()
    with talking(service):
        theirs = upstream.next_conversation()
        assert theirs.number not in dead
    assert agents(service).lost >= 1


def test_a_connection_that_dies_as_the_upgrade_arrives_is_replaced_by_a_fresh_one(
    upstream: WarmUpstream, start_elevenlabs: Start
) -> None:
    """The check at checkout cannot see it: the server ends the connection in answer to the request."""
    service = start_elevenlabs(agents_pool=PoolOptions(min_idle=1, max_size=10))
    (dying,) = upstream.wait_until_warm(1)
    upstream.dying.add(dying)
    with talking(service):
        assert upstream.next_conversation().number != dying
    assert len(upstream.upgrades) == 2


@pytest.mark.parametrize(("options", "tries"), [(NONE_READY, 1), (PoolOptions(min_idle=1, max_size=10), 2)])
def test_a_fresh_connection_that_dies_so_is_told_and_not_tried_again(
    upstream: WarmUpstream, start_elevenlabs: Start, options: PoolOptions, tries: int
) -> None:
    service = start_elevenlabs(agents_pool=options)
    upstream.wait_until_warm(options.min_idle)
    upstream.resets_upgrades = True
    with pytest.raises(UpstreamConnectError) as caught:
        open_one(service)
    assert caught.value.code == "connect_failed"
    assert len(upstream.upgrades) == tries
    assert agents(service).lent == 0


def test_a_signed_url_that_has_grown_too_old_is_not_used(upstream: WarmUpstream, start_elevenlabs: Start) -> None:
    service = start_elevenlabs(agents_pool=PoolOptions(min_idle=1, max_size=10), signed_url_max_age_seconds=0.2)
    wait_for_signed(upstream, 3)  # the first two were too old before anybody came
    with talking(service):
        assert upstream.next_conversation().query["conversation_signature"] not in {"cvtkn_1", "cvtkn_2"}


def test_a_signed_url_fetched_ahead_that_is_refused_is_fetched_anew(
    upstream: WarmUpstream, start_elevenlabs: Start
) -> None:
    service = start_elevenlabs(agents_pool=TWO_READY)
    upstream.wait_until_warm(2)
    upstream.refusals = [403]
    with talking(service):
        assert upstream.next_conversation().query["conversation_signature"] not in {"cvtkn_1", "cvtkn_2"}


def test_a_refusal_of_a_url_that_is_new_is_told(upstream: WarmUpstream, start_elevenlabs: Start) -> None:
    service = start_elevenlabs(agents_pool=TWO_READY)
    upstream.wait_until_warm(2)
    upstream.refusals = [403, 403]
    with pytest.raises(UpstreamError):
        open_one(service, "agent_two")
    assert len(upstream.upgrades) == 1
    assert agents(service).lent == 0


def test_another_agent_is_talked_to_on_the_same_connections_and_leaves_the_urls_alone(
    upstream: WarmUpstream, start_elevenlabs: Start
) -> None:
    service = start_elevenlabs(agents_pool=TWO_READY)
    ready = upstream.wait_until_warm(2)
    with talking(service, "agent_two"):
        theirs = upstream.next_conversation()
        assert (theirs.number in ready, theirs.query["agent_id"]) == (True, "agent_two")
        assert theirs.query["conversation_signature"] == "cvtkn_3"
    with talking(service, signing_options={"branch_id": "b"}):
        assert upstream.next_conversation().query["conversation_signature"] == "cvtkn_4"
    with talking(service):
        assert upstream.next_conversation().query["conversation_signature"] in {"cvtkn_1", "cvtkn_2"}
    with talking(service, "agent_three", signed=False):
        assert upstream.next_conversation().query == {"agent_id": "agent_three"}


def test_without_a_pool_nothing_is_opened_or_fetched_before_somebody_asks(
    upstream: WarmUpstream, start_elevenlabs: Start
) -> None:
    service = start_elevenlabs(agents_pool=NONE_READY)
    assert (agents(service).size, upstream.accepted) == (0, 0)
    with talking(service):
        upstream.next_conversation()
        assert upstream.signed_for == ["agent_one"]
        assert upstream.accepted == 2  # one for the URL, one for the conversation


def test_more_conversations_than_there_may_be_wait_and_those_over_the_queue_are_refused_at_once(
    upstream: WarmUpstream, start_elevenlabs: Start
) -> None:
    service = start_elevenlabs(agents_pool=PoolOptions(max_size=1, max_waiting=1, timeout_seconds=LIMIT))
    first = open_one(service)
    upstream.next_conversation()
    waiting: list[LiveConversation] = []
    waiter = threading.Thread(target=lambda: waiting.append(open_one(service)))
    waiter.start()
    wait_until(lambda: agents(service).waiting == 1, LIMIT, "one waits")
    with pytest.raises(PoolExhaustedError):
        open_one(service)
    first.socket.abort()
    waiter.join(LIMIT)
    assert len(waiting) == 1
    waiting[0].socket.abort()
    assert agents(service).lent == 0


def test_who_waits_in_vain_is_told_in_time_and_nothing_was_asked(
    upstream: WarmUpstream, start_elevenlabs: Start
) -> None:
    service = start_elevenlabs(agents_pool=PoolOptions(max_size=1, timeout_seconds=0.05))
    with talking(service):
        upstream.next_conversation()
        with pytest.raises(PoolTimeoutError):
            open_one(service)
        assert len(upstream.signed_for) == 1


def test_a_new_key_gets_new_connections_and_urls_while_conversations_go_on(
    upstream: WarmUpstream, start_elevenlabs: Start
) -> None:
    key = "sk_old"
    service = start_elevenlabs(agents_pool=TWO_READY, keys=KeyChoice(lambda: [Secret(key)]))
    old = upstream.wait_until_warm(2)
    conversation = open_one(service)
    theirs = upstream.next_conversation()
    wait_for_signed(upstream, 3)
    old += upstream.wait_until_warm(2)
    key = "sk_new"
    service.drain_connections()
    wait_until(lambda: not set(upstream.ready()) & set(old), LIMIT, "the old connections are gone")
    with talking(service):
        newer = upstream.next_conversation()
        assert newer.number not in old
        token = int(newer.query["conversation_signature"].removeprefix("cvtkn_"))
        assert upstream.keys[token - 1] == "sk_new"
    theirs.greet()
    assert conversation.receive_event(LIMIT) is not None
    conversation.socket.abort()
    wait_until(lambda: agents(service).lent == 0, LIMIT, "nothing lent")


def test_an_elevenlabs_that_is_away_keeps_nobody_from_starting_and_closing_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    service = ElevenLabsService(
        "http://127.0.0.1:1",
        keys=one_key("sk_invented"),
        default_agent_id="agent_one",
        agents_pool=TWO_READY,
    )
    assert set(threading.enumerate()) == before, "making it starts nothing"
    with service, pytest.raises(UpstreamConnectError):
        open_one(service)
    assert set(threading.enumerate()) == before
