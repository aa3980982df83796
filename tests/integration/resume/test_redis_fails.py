"""Redis killed, hung and flushed: a worker goes on with its own conversations, and of others says "later"."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Iterator
from functools import partial

import pytest
import redis

from scripts.launcher.waiting import wait_until
from service.conversation.resume_state import Claim, Progress, ResumeFacts, read_token
from service.conversation.resume_tokens import Resumable, ResumeOffice
from service.errors import ResumeTokenUsedError, ServiceUnavailableError
from service.redis_keys import conversation_key
from tests import server_processes
from tests.integration.account_limiter.conftest import OwnValkey
from tests.integration.resume.conftest import MakeOffice, client

LIMIT = 20.0
FACTS = ResumeFacts("agent_demo", "formats", b"initiation")


def nothing() -> None:
    pass


def held(office: ResumeOffice, conversation_id: str, claim: Claim | None = None) -> Resumable:
    return office.register(conversation_id, FACTS, progress=lambda: Progress(1, 2, 3), on_taken=nothing, claim=claim)


def is_known(store: redis.Redis, token: str) -> bool:
    name, digest = read_token(token)
    return store.hget(conversation_key(name, "resume"), "d") == digest.encode()


@pytest.fixture
def store(own_valkey: OwnValkey) -> Iterator[redis.Redis]:
    with client(own_valkey.url) as found:
        yield found


def test_a_flush_is_healed_and_meanwhile_nobody_is_told_that_it_is_over(
    own_valkey: OwnValkey, store: redis.Redis, make_office: MakeOffice, conversation_id: str
) -> None:
    office, other = make_office(url=own_valkey.url), make_office(url=own_valkey.url)
    token = held(office, conversation_id).issue()
    wait_until(lambda: is_known(store, token), LIMIT)
    for _ in range(5):
        store.flushall()
        claim = other.claim(token)  # waits until it is healed
        assert (claim.facts, claim.progress) == (FACTS, Progress(1, 2, 3))
        token = held(other, conversation_id, claim).issue()
        wait_until(partial(is_known, store, token), LIMIT)
        office, other = other, office


def test_a_flush_of_a_conversation_that_is_gone_for_good_says_come_again(
    own_valkey: OwnValkey, make_office: MakeOffice
) -> None:
    office = make_office(url=own_valkey.url)
    with pytest.raises(ServiceUnavailableError):
        office.claim(f"conv_1.{secrets.token_urlsafe(32)}")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_without_redis_a_worker_decides_about_its_own_conversations(
    own_valkey: OwnValkey, store: redis.Redis, make_office: MakeOffice, conversation_id: str, how: signal.Signals
) -> None:
    office, other = make_office(url=own_valkey.url), make_office(url=own_valkey.url)
    resumable = held(office, conversation_id)
    token = resumable.issue()
    wait_until(lambda: is_known(store, token), LIMIT)
    pid = store.info("server")["process_id"]  # type: ignore[index]
    server_processes.send(pid, how)
    try:
        assert office.claim(token).is_here
        with pytest.raises(ServiceUnavailableError):
            other.claim(token)
        newest = resumable.issue()
        resumable.confirm()
        with pytest.raises(ResumeTokenUsedError):
            office.claim(token)
    finally:
        if how is signal.SIGSTOP:
            server_processes.send(pid, signal.SIGCONT)
    if how is signal.SIGKILL:
        own_valkey.kill()
        own_valkey.start()
    wait_until(lambda: knows(store, newest), LIMIT, "what was decided without Redis is written down")
    claim = other.claim(newest)
    assert not claim.is_here
    assert claim.fence >= 3


def knows(store: redis.Redis, token: str) -> bool:
    try:
        return is_known(store, token)
    except redis.RedisError:
        return False
