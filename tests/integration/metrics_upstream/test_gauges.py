"""Pools, limiters, retries and hedges as the metrics show them: they follow what is, and come back to nothing."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scripts.launcher.waiting import wait_until
from service.account_limiter import AccountLimiter
from service.elevenlabs.account_slots import AccountSlots
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.gauges import UpstreamGauges
from service.elevenlabs.pool_options import PoolOptions
from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import LimiterTimeoutError, PoolTimeoutError, UpstreamError
from service.minute_tally import TALLY, MinuteCount
from service.pool_reports import PoolReporter, list_reports
from service.pool_stats import PoolStats
from service.retry import Retrier, RetryPolicy
from service.retry_budget import RetryBudget
from tests.conftest import NewRedis
from tests.integration.metrics_upstream.conftest import Arm, StartElevenLabs, retrier
from tests.keys import one_key
from tests.servers import free_port
from tests.told import Told, now

VOICE = "21m00Tcm4TlvDq8ikWAM"
EVENTS, RETRIES = "vocero_pool_events_total", "vocero_retries_total"


def lent(pool: str) -> float:
    return now("elevenlabs_pool_connections_active", pool=pool)


def connections(pool: str) -> tuple[float, float, float]:
    """Idle, lent, opening."""
    idle, in_use, opening = (
        now("vocero_pool_connections", pool=pool, state=state) for state in ("idle", "lent", "opening")
    )
    return idle, in_use, opening


@pytest.fixture(autouse=True)
def _calm() -> Iterator[None]:
    """What is told of a service that is over does not stay for the next test."""
    yield
    UpstreamGauges([ElevenLabsService("http://127.0.0.1:9", keys=one_key())]).tell()


# --- Pools


def test_conversations_are_connections_in_use_until_they_end(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    service = start_elevenlabs(agents_pool=PoolOptions(max_size=5))
    gauges = UpstreamGauges([service])
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(service.open_conversation("agent_demo"))
        gauges.tell()
        assert lent("agents") == 3
        assert connections("agents") == (0, 3, 0)
        assert now("vocero_pool_limit", pool="agents") == 5
    gauges.tell()
    gauges.tell()
    assert lent("agents") == 0
    assert connections("agents") == (0, 0, 0)
    assert told.more(EVENTS)["opened agents"] == 3
    assert told.more("vocero_pool_wait_seconds_count")["agents"] == 3


def test_speech_uses_its_connection_again_and_leaves_it_idle(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    service = start_elevenlabs()
    gauges = UpstreamGauges([service])
    with service.generate_audio("Hello.", voice_id=VOICE) as stream:
        gauges.tell()
        assert lent("speech") == 1
        stream.read_all()
    b"".join(service.generate_audio("Hello.", voice_id=VOICE))
    gauges.tell()
    assert connections("speech") == (1, 0, 0)
    assert told.more(EVENTS) == {"opened speech": 1, "reused speech": 1}
    assert told.more("vocero_pool_wait_seconds_count") == {"speech": 2}


def test_who_waits_in_vain_is_a_timeout_and_its_wait_is_known(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    service = start_elevenlabs(agents_pool=PoolOptions(max_size=1, max_waiting=3, timeout_seconds=0.3))
    gauges = UpstreamGauges([service])
    TALLY.take()
    failures: list[Exception] = []

    def wait() -> None:
        try:
            service.open_conversation("agent_demo", signed=False)
        except PoolTimeoutError as exc:
            failures.append(exc)

    with service.open_conversation("agent_demo"):
        waiter = threading.Thread(target=wait)
        waiter.start()

        def is_seen() -> bool:
            gauges.tell()
            return now("vocero_pool_waiting", pool="agents") == 1

        wait_until(is_seen, 10, "a caller that waits")
        waiter.join(10)
    gauges.tell()
    assert len(failures) == 1
    assert now("vocero_pool_waiting", pool="agents") == 0
    minute = TALLY.take()
    assert (minute[MinuteCount.POOL_AGENTS_CALLERS], minute[MinuteCount.POOL_AGENTS_REFUSED]) == (2, 1)
    assert minute[MinuteCount.POOL_AGENTS_WAIT_SECONDS] >= 0.3
    assert minute[MinuteCount.POOL_AGENTS_LENT_SECONDS] > 0
    assert told.more(EVENTS)["timeout agents"] == 1
    assert told.more("vocero_pool_wait_seconds_sum")["agents"] >= 0.3


def test_a_connection_that_does_not_open_is_counted(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    service = start_elevenlabs(f"http://127.0.0.1:{free_port()}")
    gauges = UpstreamGauges([service])
    with pytest.raises(UpstreamError):
        service.generate_audio("Hello.", voice_id=VOICE)
    gauges.tell()
    assert told.more(EVENTS) == {"failed speech": 1}


def test_two_accounts_are_added_up_and_a_pool_that_is_made_anew_counts_from_nothing(
    start_elevenlabs: StartElevenLabs, told: Told
) -> None:
    first, second = start_elevenlabs(), start_elevenlabs()
    gauges = UpstreamGauges([first, second])
    with first.open_conversation("agent_demo"), second.open_conversation("agent_demo"):
        first.open_conversation("agent_demo").close()
        gauges.tell()
        assert lent("agents") == 2
    gauges.tell()
    first.close()
    first.start()
    with first.open_conversation("agent_demo"):
        gauges.tell()
        assert lent("agents") == 1
    assert told.more(EVENTS)["opened agents"] == 4


def test_a_service_that_is_over_has_nothing_in_use(start_elevenlabs: StartElevenLabs) -> None:
    service = start_elevenlabs()
    gauges = UpstreamGauges([service])
    with service.open_conversation("agent_demo"):
        gauges.tell()
        assert lent("agents") == 1
        service.close()
        gauges.tell()
        assert lent("agents") == 0
        assert now("vocero_pool_limit", pool="agents") == 0


def test_the_numbers_are_told_each_second_though_redis_is_away(start_elevenlabs: StartElevenLabs) -> None:
    service = start_elevenlabs()
    gone = redis.Redis(port=free_port(), socket_timeout=0.25, retry=Retry(NoBackoff(), 1))
    reporter = PoolReporter(gone, node="n", worker="w", pools=service.pool_stats, tell=UpstreamGauges([service]).tell)
    reporter.start()
    try:
        with service.open_conversation("agent_demo"):
            wait_until(lambda: lent("agents") == 1, 10, "a conversation that is seen")
        wait_until(lambda: lent("agents") == 0, 10, "its end")
    finally:
        reporter.close()


# --- The account's slots


@pytest.fixture
def limiter(new_redis: NewRedis) -> Iterator[AccountLimiter]:
    with redis.Redis.from_url(new_redis(), socket_timeout=1) as store:
        yield AccountLimiter(store, name="agents", cap=2, reserved_share=0.0)


def test_slots_in_use_who_waits_and_who_waits_in_vain(
    start_elevenlabs: StartElevenLabs, limiter: AccountLimiter, told: Told
) -> None:
    service = start_elevenlabs(slots=AccountSlots(agents=limiter, wait_seconds=0.4))
    gauges = UpstreamGauges([service])
    failures: list[Exception] = []

    def wait() -> None:
        try:
            service.open_conversation("agent_demo")
        except LimiterTimeoutError as exc:
            failures.append(exc)

    def sees(name: str, number: float) -> None:
        def is_so() -> bool:
            gauges.tell()
            return now(f"vocero_limiter_{name}", limiter="agents") == number

        wait_until(is_so, 10, f"{name} {number}")

    with service.open_conversation("agent_demo"), service.open_conversation("agent_demo"):
        sees("in_use", 2)
        sees("cap", 2)
        waiter = threading.Thread(target=wait)
        waiter.start()
        sees("waiting", 1)
        waiter.join(10)
        sees("waiting", 0)
    sees("in_use", 0)
    assert len(failures) == 1
    assert told.more("vocero_limiter_timeouts_total") == {"agents": 1}
    assert told.more("vocero_limiter_wait_seconds_count") == {"agents greeting": 3}
    assert told.more("vocero_limiter_wait_seconds_sum")["agents greeting"] >= 0.4
    assert told.more("elevenlabs_errors_total") == {"limiter_timeout quota conversation": 1}
    assert now("vocero_limiter_cap", limiter="speech") == 0, "it is not bounded"


# --- Repetitions


def test_a_repetition_a_surrender_and_an_empty_budget_are_told_apart(
    start_elevenlabs: StartElevenLabs, arm: Arm, told: Told
) -> None:
    budget = RetryBudget(share=0.0, minimum=3)
    service = start_elevenlabs(retrier=Retrier(RetryPolicy(attempts=3), budget=budget, sleep=lambda _: None))
    gauges = UpstreamGauges([service])
    arm("tts.stream", status=503, code="system_busy")
    for _ in range(2):
        with pytest.raises(UpstreamError):
            service.generate_audio("Hello.", voice_id=VOICE)
    gauges.tell()
    gauges.tell()
    assert told.more(RETRIES) == {"speech retried": 3, "speech gave_up": 1, "speech budget_spent": 1}
    assert now("vocero_retry_budget_tokens") == 0
    assert told.more("elevenlabs_requests_total") == {"speech failure": 2}


@pytest.mark.parametrize(("late_by", "outcome"), [(30, "won"), (0.6, "lost")])
def test_speech_that_is_asked_for_twice_says_which_was_heard_and_is_one_request(
    start_elevenlabs: StartElevenLabs, told: Told, late_by: float, outcome: str
) -> None:
    """The first is late; the second comes at once, or never."""
    listener = socket.create_server(("127.0.0.1", 0))
    is_over = threading.Event()
    peers: list[socket.socket] = []

    def answer(number: int, peer: socket.socket) -> None:
        peer.recv(65_536)
        delay = (late_by if outcome == "won" else 0.6) if number == 0 else (0 if outcome == "won" else 30)
        if delay and is_over.wait(delay):
            return
        peer.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ncharacter-cost: 3\r\ncontent-length: 4\r\n\r\naaaa"
        )

    def serve() -> None:
        for number in range(2):
            peer, _ = listener.accept()
            peers.append(peer)
            threading.Thread(target=answer, args=(number, peer), daemon=True).start()

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        service = start_elevenlabs(f"http://127.0.0.1:{listener.getsockname()[1]}", attempts=3, hedge_after_seconds=0.1)
        body = json.dumps({"text": "Hello.", "model_id": "eleven_flash_v2_5"}).encode()
        with service.open_speech(SpeechRoute.STREAM, VOICE, query="", body=body) as stream:
            assert stream.read_all() == b"aaaa"
    finally:
        is_over.set()
        server.join(10)
        for peer in (*peers, listener):
            peer.close()
    assert told.more("vocero_hedges_total") == {outcome: 1}
    assert told.more("elevenlabs_requests_total") == {"speech success": 1}
    assert told.more("elevenlabs_characters_total")["heard"] == 6
    assert told.more("elevenlabs_errors_total") == {}


def test_what_nobody_repeats_is_not_in_the_way(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    service = start_elevenlabs(retrier=retrier(1))
    b"".join(service.generate_audio("Hello.", voice_id=VOICE))
    UpstreamGauges([service]).tell()
    assert told.more(RETRIES) == {}
    assert now("vocero_retry_budget_tokens") > 0


def test_metrics_that_cannot_be_told_do_not_keep_a_worker_from_reporting(
    new_redis: NewRedis, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise OSError("no space left")

    with redis.Redis.from_url(new_redis(), socket_timeout=1) as store:
        counted = itertools.count()
        reporter = PoolReporter(
            store, node="n", worker="w", pools=lambda: [PoolStats(name="agents", served=next(counted))], tell=fail
        )
        reporter.start()
        try:
            wait_until(lambda: [e.pools[0].served >= 1 for e in list_reports(store)] == [True], 10, "a second report")
        finally:
            reporter.close()
    assert capsys.readouterr().out.count("] metrics of the pools are not told") == 1
