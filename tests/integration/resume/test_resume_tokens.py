"""Tokens between workers, on a real Valkey: one wins, the others are told why not, and nobody gets a foreign talk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
import redis

from scripts.launcher.waiting import wait_until
from service.conversation import resume_tokens
from service.conversation.resume_state import Claim, Progress, ResumeFacts, Verdict, new_token, read_token
from service.conversation.resume_store import ResumeStore
from service.conversation.resume_tokens import MAX_INITIATION_BYTES, Resumable, ResumeOffice
from service.errors import (
    InvalidResumeTokenError,
    ResumeTokenExpiredError,
    ResumeTokenUsedError,
    ServiceUnavailableError,
)
from service.keeping.conversation_keys import delete_conversation_keys
from service.key_limits import KeyBound
from service.redis_keys import RESUME_SINCE, conversation_key
from tests.integration.resume.conftest import MakeOffice, client

LIMIT = 20.0
FACTS = ResumeFacts("agent_demo", "pcm_16000/pcm_24000", b'{"type": "conversation_initiation_client_data"}\xc3')
Known = Callable[[str], bool]


def nothing() -> None:
    pass


def held(office: ResumeOffice, conversation_id: str, **options: object) -> Resumable:
    arguments = {"facts": FACTS, "progress": lambda: Progress(9, 4, 7), "on_taken": nothing, **options}
    return office.register(conversation_id, **arguments)  # type: ignore[arg-type]


@pytest.fixture
def store(valkey: str) -> Iterator[redis.Redis]:
    with client(valkey) as found:
        found.set(RESUME_SINCE.prefix, 1)  # this Redis is not new
        yield found


@pytest.fixture
def is_written(store: redis.Redis) -> Known:
    def is_written(token: str) -> bool:
        name, digest = read_token(token)
        return store.hget(conversation_key(name, "resume"), "d") == digest.encode()

    return is_written


def written_token(resumable: Resumable, is_written: Known) -> str:
    token = resumable.issue()
    wait_until(lambda: is_written(token), LIMIT, "the token is written down")
    return token


def claims(offices: list[ResumeOffice], token: str) -> list[Claim | type[Exception]]:
    start = threading.Barrier(len(offices))

    def claim(office: ResumeOffice) -> Claim | type[Exception]:
        start.wait(LIMIT)
        try:
            return office.claim(token)
        except Exception as exc:
            return type(exc)

    with ThreadPoolExecutor(len(offices)) as pool:
        return list(pool.map(claim, offices))


def test_a_client_comes_back_to_its_own_worker(
    make_office: MakeOffice, is_written: Known, conversation_id: str
) -> None:
    office = make_office()
    resumable = held(office, conversation_id)
    claim = office.claim(written_token(resumable, is_written))
    assert (claim.conversation_id, claim.is_here, claim.fence) == (conversation_id, True, 2)
    assert (claim.facts, claim.progress) == (FACTS, Progress(9, 4, 7))


def test_another_worker_takes_over_and_the_first_is_told(
    make_office: MakeOffice, is_written: Known, conversation_id: str
) -> None:
    first, second = make_office(), make_office()
    taken = threading.Event()
    token = written_token(held(first, conversation_id, on_taken=taken.set), is_written)
    assert (first.holds(token), second.holds(token)) == (True, False)
    claim = second.claim(token)
    assert (claim.is_here, claim.fence, claim.facts, claim.progress) == (False, 2, FACTS, Progress(9, 4, 7))
    assert taken.wait(LIMIT)
    assert len(first) == 0
    resumed = held(second, conversation_id, claim=claim)
    third = make_office()
    claim = third.claim(written_token(resumed, is_written))
    assert claim.fence == 3


def test_a_conversation_keeps_the_bound_of_its_api_key_from_worker_to_worker(
    make_office: MakeOffice, is_written: Known, conversation_id: str
) -> None:
    bound = replace(FACTS, bound=KeyBound("0123456789abcdef", 2))
    token = written_token(held(make_office(), conversation_id, facts=bound), is_written)
    assert make_office().claim(token).facts == bound


@pytest.mark.parametrize("workers", [1, 8])
def test_of_many_who_show_one_token_at_once_exactly_one_gets_in(
    make_office: MakeOffice, is_written: Known, conversation_id: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume_tokens, "CLAIM_SECONDS", 0.2)
    offices = [make_office(heartbeat_seconds=60.0) for _ in range(workers)]
    resumable = held(offices[0], conversation_id)
    for _ in range(3):
        token = written_token(resumable, is_written)
        results = claims((offices * 8)[:16], token)
        winners = [result for result in results if isinstance(result, Claim)]
        assert len(winners) == 1
        assert {result for result in results if isinstance(result, type)} <= {
            ServiceUnavailableError,
            ResumeTokenUsedError,
        }
        winner = offices[results.index(winners[0]) % workers]
        resumable = held(winner, conversation_id, claim=winners[0])
        written_token(resumable, is_written)
        resumable.confirm()
        wait_until(partial(is_used_up, offices[-1], token), LIMIT)


def is_used_up(office: ResumeOffice, token: str) -> bool:
    return refused_as(office, token) is ResumeTokenUsedError


def refused_as(office: ResumeOffice, token: str) -> type[Exception]:
    with pytest.raises(Exception) as refused:
        office.claim(token)
    return refused.type


def test_the_loser_of_two_is_told_as_soon_as_the_winner_has_its_next_token(
    make_office: MakeOffice, is_written: Known, conversation_id: str
) -> None:
    first, second = make_office(), make_office()
    token = written_token(held(first, conversation_id), is_written)
    claim = second.claim(token)
    with ThreadPoolExecutor(1) as pool:
        loser = pool.submit(refused_as, first, token)
        resumed = held(second, conversation_id, claim=claim)
        resumed.issue()
        resumed.confirm()
        assert loser.result(LIMIT) is ResumeTokenUsedError


def test_a_worker_killed_between_the_claim_and_the_next_token_costs_no_conversation(
    make_office: MakeOffice, is_written: Known, conversation_id: str, store: redis.Redis
) -> None:
    first, third = make_office(), make_office()
    token = written_token(held(first, conversation_id), is_written)
    killed = ResumeStore(store, owner="killed", resume_seconds=120)
    assert killed.claim(*read_token(token), "question")[0] is Verdict.OK
    key = conversation_key(conversation_id, "resume")
    store.hset(key, "gf", 0)  # five seconds later
    claim = third.claim(token)
    assert (claim.fence, claim.facts) == (3, FACTS)


def test_a_question_whose_answer_was_lost_is_answered_again(
    make_office: MakeOffice, is_written: Known, conversation_id: str, store: redis.Redis
) -> None:
    token = written_token(held(make_office(heartbeat_seconds=60.0), conversation_id), is_written)
    worker = ResumeStore(store, owner="other", resume_seconds=120)
    answers = [worker.claim(*read_token(token), "the same") for _ in range(3)]
    assert answers[0][0] is Verdict.OK
    assert answers[0] == answers[1] == answers[2]
    assert worker.claim(*read_token(token), "another")[0] is Verdict.UNCONFIRMED


def test_forged_foreign_used_and_expired_tokens_are_told_apart(
    make_office: MakeOffice, is_written: Known, conversation_id: str
) -> None:
    office, other = make_office(), make_office()
    resumable = held(office, conversation_id)
    neighbour = held(office, f"{conversation_id}_2")
    token, foreign = written_token(resumable, is_written), written_token(neighbour, is_written)
    swapped = f"{conversation_id}.{foreign.rpartition('.')[2]}"
    for each in (office, other):
        assert refused_as(each, new_token(conversation_id)) is InvalidResumeTokenError
        assert refused_as(each, swapped) is InvalidResumeTokenError
        assert refused_as(each, "nonsense") is InvalidResumeTokenError
        assert refused_as(each, new_token(f"{conversation_id}_none")) is ResumeTokenExpiredError
    office.claim(token)
    newest = written_token(resumable, is_written)
    resumable.confirm()
    wait_until(lambda: refused_as(other, token) is ResumeTokenUsedError, LIMIT)
    resumable.forget()
    wait_until(lambda: refused_as(other, newest) is ResumeTokenExpiredError, LIMIT)
    assert refused_as(office, newest) is ResumeTokenExpiredError
    assert len(office) == 1


def test_a_state_that_lacks_for_a_moment_is_waited_for(
    make_office: MakeOffice, is_written: Known, conversation_id: str, store: redis.Redis
) -> None:
    owner, other = make_office(heartbeat_seconds=0.2), make_office()
    token = written_token(held(owner, conversation_id), is_written)
    store.delete(conversation_key(conversation_id, "resume"))  # until the owner's next heartbeat
    assert other.claim(token).fence == 2


def test_a_conversation_that_was_erased_cannot_be_resumed(
    make_office: MakeOffice, is_written: Known, conversation_id: str, store: redis.Redis
) -> None:
    office = make_office()
    token = written_token(held(office, conversation_id), is_written)
    store.set(conversation_key(conversation_id, "refused"), 1, ex=60)  # the ledger has heard of it
    wait_until(lambda: len(office) == 0, LIMIT)
    assert not store.exists(conversation_key(conversation_id, "resume"))
    assert refused_as(make_office(), token) is ResumeTokenExpiredError
    assert refused_as(office, token) is ResumeTokenExpiredError


def test_erasure_takes_what_the_client_said_about_itself(
    make_office: MakeOffice, is_written: Known, conversation_id: str, store: redis.Redis
) -> None:
    office = make_office()
    resumable = held(office, conversation_id)
    token = written_token(resumable, is_written)
    resumable.release()
    assert store.hget(conversation_key(conversation_id, "resume"), "i") == FACTS.initiation
    assert delete_conversation_keys(store, lambda name: name == conversation_id) == 1
    assert refused_as(office, token) is ResumeTokenExpiredError


def test_nothing_in_an_id_reaches_another_key(make_office: MakeOffice, is_written: Known, store: redis.Redis) -> None:
    office, other = make_office(), make_office()
    for name in ("a:resume", "{x}", "*", "'; DROP TABLE", "%3A", "é", "a b", "..", "a\r\nFLUSHALL"):
        claim = other.claim(written_token(held(office, name), is_written))
        assert claim.conversation_id == name
        held(other, name, claim=claim).forget()
    wait_until(lambda: len(other) == 0, LIMIT)
    assert store.exists(RESUME_SINCE.prefix)


def test_a_worker_that_leaves_writes_down_how_far_it_was(
    make_office: MakeOffice, is_written: Known, conversation_id: str
) -> None:
    first, second = make_office(heartbeat_seconds=60.0), make_office()
    counted = [Progress(1, 1, 1)]
    resumable = held(first, conversation_id, progress=lambda: counted[-1])
    token = written_token(resumable, is_written)
    counted.append(Progress(20, 12, 6))
    resumable.release()
    claim = second.claim(token)
    assert claim.progress == Progress(20, 12, 6)
    assert not claim.is_here


def test_a_process_that_closes_writes_everything_down(
    make_office: MakeOffice, is_written: Known, conversation_id: str
) -> None:
    first = make_office(heartbeat_seconds=60.0)
    counted = [Progress(1, 1, 1)]
    token = written_token(held(first, conversation_id, progress=lambda: counted[-1]), is_written)
    counted.append(Progress(20, 12, 6))
    first.close()
    assert make_office().claim(token).progress == Progress(20, 12, 6)


def test_what_the_client_said_is_written_down_at_once_when_told(
    make_office: MakeOffice, is_written: Known, conversation_id: str, store: redis.Redis
) -> None:
    office = make_office(heartbeat_seconds=60.0)
    counted = [Progress(1, 1, 1)]
    resumable = held(office, conversation_id, progress=lambda: counted[-1])
    written_token(resumable, is_written)
    counted.append(Progress(1, 2, 1))
    resumable.changed()
    wait_until(lambda: store.hget(conversation_key(conversation_id, "resume"), "r") == b"2", LIMIT)


def test_a_state_expires_after_the_time_to_come_back(
    make_office: MakeOffice, is_written: Known, conversation_id: str, store: redis.Redis
) -> None:
    resumable = held(make_office(resume_seconds=100.0), conversation_id)
    written_token(resumable, is_written)
    assert 109_000 < store.pttl(conversation_key(conversation_id, "resume")) <= 110_000  # type: ignore[operator]


def test_a_very_long_initiation_stays_on_its_worker(
    make_office: MakeOffice, conversation_id: str, store: redis.Redis
) -> None:
    office, other = make_office(), make_office()
    resumable = held(office, conversation_id, facts=ResumeFacts("agent", initiation=bytes(MAX_INITIATION_BYTES + 1)))
    token = resumable.issue()
    assert refused_as(other, token) is ResumeTokenExpiredError
    claim = office.claim(token)
    assert claim.is_here
    assert not store.exists(conversation_key(conversation_id, "resume"))


def test_one_key_that_somebody_else_has_written_keeps_no_other_from_being_written(
    make_office: MakeOffice, is_written: Known, conversation_id: str, store: redis.Redis
) -> None:
    key = conversation_key(conversation_id, "resume")
    store.set(key, "not a hash", ex=60)
    office = make_office()
    broken, sound = held(office, conversation_id), held(office, f"{conversation_id}_2")
    broken.issue()
    written_token(sound, is_written)
    store.delete(key)
    written_token(broken, is_written)


def test_no_token_lies_in_redis(
    make_office: MakeOffice, is_written: Known, conversation_id: str, store: redis.Redis
) -> None:
    token = written_token(held(make_office(), conversation_id), is_written)
    secret = token.rpartition(".")[2].encode()
    found = store.hgetall(conversation_key(conversation_id, "resume"))
    assert not any(secret in value for value in found.values())  # type: ignore[union-attr]


def test_a_token_that_was_waited_for_outlives_its_worker(
    make_office: MakeOffice, is_written: Known, conversation_id: str
) -> None:
    resumable = held(make_office(heartbeat_seconds=60.0), conversation_id)
    for _ in range(20):
        token = resumable.issue()
        resumable.wait_until_written(LIMIT)
        assert is_written(token)


def test_nobody_waits_for_a_redis_that_does_not_answer(make_office: MakeOffice, conversation_id: str) -> None:
    office = make_office(url="redis://127.0.0.1:1/0")
    resumable = held(office, conversation_id)
    wait_until(lambda: not office.is_heard, LIMIT, "Redis is known to be away")
    resumable.issue()
    resumable.wait_until_written(3600.0)
