"""Speech through `with_retry`, against real sockets: what is asked for again, how often, and for how long at most."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from scripted_upstream import WAIT_SECONDS, Peer, ScriptedUpstream

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.pool_options import PoolOptions
from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import (
    PoolTimeoutError,
    UpstreamBusyError,
    UpstreamConcurrencyError,
    UpstreamConnectError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from service.retry import Outcome, Retrier, RetryPolicy
from service.retry_budget import RetryBudget

StartUpstream = Callable[..., ScriptedUpstream]
StartService = Callable[..., ElevenLabsService]
BUSY = "503 Service Unavailable"


def retrier(
    *, budget: RetryBudget | None = None, sleep: Callable[[float], None] | None = None, **policy: Any
) -> Retrier:
    """One that does not wait, and whose budget is never the reason unless one is given."""
    return Retrier(
        RetryPolicy(**policy),
        budget=budget or RetryBudget(share=1.0, minimum=1_000),
        sleep=sleep or (lambda _: None),
    )


def speak(service: ElevenLabsService) -> bytes:
    return b"".join(service.generate_audio("Hello.", voice_id="v1"))


class Turns:
    """A script whose nth request, counted over all connections, is served by the nth of `answers` or the last."""

    def __init__(self, *answers: Callable[[Peer], None]) -> None:
        self._answers = list(answers)
        self._lock = threading.Lock()

    def __call__(self, peer: Peer) -> None:
        while peer.read_request() is not None:
            with self._lock:
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            answer(peer)


def busy(peer: Peer) -> None:
    peer.answer(b"", status=BUSY)


def audio(peer: Peer) -> None:
    peer.answer(b"spoken")


def hang(peer: Peer) -> None:
    peer.await_hang_up()


# --- What is asked for again


def test_speech_that_elevenlabs_was_too_busy_for_is_asked_for_again_unchanged(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    upstream = start_upstream(Turns(busy, busy, audio))
    service = start_service(upstream.url, retrier=retrier())
    assert speak(service) == b"spoken"
    assert len(upstream.requests) == 3
    assert len({(request.target, request.body) for request in upstream.requests}) == 1
    assert service.retrier.counts() == {("generate_audio", Outcome.REPEATED): 2}


def test_what_the_web_routes_ask_for_goes_by_the_same_policy(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    upstream = start_upstream(Turns(busy, audio))
    service = start_service(upstream.url, retrier=retrier())
    stream = service.open_speech(SpeechRoute.FULL, "v1", query="", body=b'{"text":"Hi."}')
    assert stream.read_all() == b"spoken"
    assert service.retrier.counts() == {("open_speech", Outcome.REPEATED): 1}


def test_a_connection_that_was_refused_is_made_again(start_service: StartService) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with ExitStack() as stack:
        upstreams: list[ScriptedUpstream] = []

        def bring_it_up(_: float) -> None:
            upstreams.append(stack.enter_context(ScriptedUpstream(Turns(audio), port=port)))

        service = start_service(f"http://127.0.0.1:{port}", retrier=retrier(sleep=bring_it_up))
        assert speak(service) == b"spoken"
        service.close()
        assert len(upstreams[0].requests) == 1


def test_a_busy_elevenlabs_is_given_the_time_it_asks_for(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    slept: list[float] = []

    def busy_for_seven_seconds(peer: Peer) -> None:
        peer.answer(b"", status=BUSY, retry_after="7")

    upstream = start_upstream(Turns(busy_for_seven_seconds, audio))
    assert speak(start_service(upstream.url, retrier=retrier(sleep=slept.append, base_seconds=0.5))) == b"spoken"
    assert 7.0 <= slept[0] <= 7.5


@pytest.mark.parametrize("retry_after", ["3600", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_one_that_asks_for_too_much_time_is_not_waited_for(
    start_upstream: StartUpstream, start_service: StartService, retry_after: str
) -> None:
    def busy_for_long(peer: Peer) -> None:
        peer.answer(b"", status=BUSY, retry_after=retry_after)

    def fail(seconds: float) -> None:
        raise AssertionError(f"waited {seconds}")

    upstream = start_upstream(Turns(busy_for_long))
    with pytest.raises(UpstreamBusyError) as caught:
        speak(start_service(upstream.url, retrier=retrier(sleep=fail)))
    assert caught.value.retry_after == 3600.0
    assert len(upstream.requests) == 1


# --- What is not


def crowded(peer: Peer) -> None:
    peer.answer(
        b'{"detail":{"status":"too_many_concurrent_requests"}}', status="429 Too Many Requests", retry_after="1"
    )


def broken(peer: Peer) -> None:
    peer.answer(b"", status="500 Internal Server Error")


def no_answer(peer: Peer) -> None:
    peer.reset()


def half_a_head(peer: Peer) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-")
    peer.sock.close()


def head_only(peer: Peer) -> None:
    peer.head(content_length="1000")
    peer.reset()


def one_chunk(peer: Peer) -> None:
    peer.head(transfer_encoding="chunked")
    peer.chunk(b"first")
    peer.sock.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (crowded, UpstreamConcurrencyError),
        (broken, UpstreamUnavailableError),
        (no_answer, UpstreamUnavailableError),
        (half_a_head, UpstreamUnavailableError),
        (head_only, UpstreamProtocolError),
        (one_chunk, UpstreamProtocolError),
    ],
)
def test_what_elevenlabs_may_have_billed_is_asked_for_once(
    start_upstream: StartUpstream,
    start_service: StartService,
    answer: Callable[[Peer], None],
    expected: type[UpstreamError],
) -> None:
    upstream = start_upstream(Turns(answer))
    with pytest.raises(expected):
        speak(start_service(upstream.url, retrier=retrier()))
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("answer", [broken, no_answer])
def test_what_the_web_routes_ask_for_is_not_billed_twice_either(
    start_upstream: StartUpstream, start_service: StartService, answer: Callable[[Peer], None]
) -> None:
    upstream = start_upstream(Turns(answer))
    with pytest.raises(UpstreamUnavailableError):
        start_service(upstream.url, retrier=retrier()).open_speech(SpeechRoute.FULL, "v1", query="", body=b"{}")
    assert len(upstream.requests) == 1


def test_a_kill_after_the_first_audio_makes_exactly_one_request(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    upstream = start_upstream(Turns(one_chunk))
    heard = []
    with pytest.raises(UpstreamProtocolError):
        for piece in start_service(upstream.url, retrier=retrier()).generate_audio("Hello.", voice_id="v1"):
            heard.append(piece)  # noqa: PERF402 (what came before the failure counts)
    assert heard == [b"first"]
    assert len(upstream.requests) == upstream.accepted == 1


def test_a_total_outage_is_met_with_a_fifth_more_requests_at_most(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    """1,000 calls by ten threads while every request fails."""
    upstream = start_upstream(Turns(busy))
    service = start_service(upstream.url, retrier=retrier(budget=RetryBudget(share=0.1, minimum=3)))

    def call(_: int) -> None:
        with pytest.raises(UpstreamBusyError):
            speak(service)

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(call, range(1_000)))
    assert 1_000 < len(upstream.requests) <= 1.2 * 1_000 + 3
    assert len(upstream.requests) == 1_000 + service.retrier.counts()["generate_audio", Outcome.REPEATED]


# --- How long


def trickle(peer: Peer) -> None:
    """A byte of the head now and then: silence alone would never end it."""
    for byte in b"HTTP/1.1 200 OK\r\nx-word: " + b"." * 1_000:
        peer.send(bytes([byte]))
        if peer.has_hung_up(0.05):
            return


def head_without_audio(peer: Peer) -> None:
    peer.head(content_length="1000")
    peer.await_hang_up()


@pytest.mark.parametrize("answer", [hang, trickle, head_without_audio])
def test_an_elevenlabs_that_hangs_is_waited_for_until_the_deadline_and_no_longer(
    start_upstream: StartUpstream, start_service: StartService, answer: Callable[[Peer], None]
) -> None:
    upstream = start_upstream(Turns(answer))
    service = start_service(upstream.url, read_seconds=WAIT_SECONDS * 10, retrier=retrier(total_seconds=2.0))
    began = time.monotonic()
    with pytest.raises(UpstreamTimeoutError):
        speak(service)
    assert 2.0 <= time.monotonic() - began < WAIT_SECONDS
    assert len(upstream.requests) == 1


def test_a_connection_that_is_not_taken_ends_with_the_deadline(start_service: StartService) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        address = listener.getsockname()
        for _ in range(3):  # fill the queue; what comes then gets no answer from the kernel
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        service = start_service(
            f"http://127.0.0.1:{address[1]}",
            retrier=retrier(total_seconds=0.3),
            speech_pool=PoolOptions(timeout_seconds=WAIT_SECONDS * 10),
            connect_seconds=WAIT_SECONDS * 10,
        )
        began = time.monotonic()
        with pytest.raises((UpstreamConnectError, PoolTimeoutError)):  # the pool's wait ends with the deadline too
            speak(service)
        assert 0.3 <= time.monotonic() - began < WAIT_SECONDS


def test_when_there_is_audio_the_deadline_is_met_and_only_silence_counts(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    late = threading.Event()

    def speak_slowly(peer: Peer) -> None:
        peer.head(transfer_encoding="chunked")
        peer.chunk(b"first ")
        assert late.wait(WAIT_SECONDS)
        assert not peer.has_hung_up(0.6)  # twice the deadline
        peer.chunk(b"second")
        peer.send(b"0\r\n\r\n")

    upstream = start_upstream(Turns(speak_slowly))
    service = start_service(upstream.url, read_seconds=WAIT_SECONDS, retrier=retrier(total_seconds=0.3))
    pieces: Iterator[bytes] = iter(service.generate_audio("Hello.", voice_id="v1"))
    assert next(pieces) == b"first "
    late.set()
    assert next(pieces) == b"second"
    assert list(pieces) == []


# --- Hedging


def hedging(**policy: Any) -> dict[str, Any]:
    return {"retrier": retrier(**policy), "hedge_after_seconds": 0.05, "read_seconds": WAIT_SECONDS * 10}


@pytest.mark.parametrize("late", [hang, head_without_audio])
def test_speech_that_is_late_is_asked_for_again_and_the_late_one_is_hung_up_on(
    start_upstream: StartUpstream, start_service: StartService, late: Callable[[Peer], None]
) -> None:
    hung_up = threading.Event()

    def be_late(peer: Peer) -> None:
        late(peer)
        hung_up.set()

    upstream = start_upstream(Turns(be_late, audio))
    service = start_service(upstream.url, **hedging())
    assert speak(service) == b"spoken"
    assert hung_up.wait(WAIT_SECONDS)
    assert len(upstream.requests) == 2
    assert service.retrier.counts() == {("generate_audio", Outcome.HEDGED): 1}
    assert service.retrier.budget.stats().retries == 1


def test_the_winner_of_a_hedge_can_be_read_in_lines_and_in_one_piece(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    def answer(peer: Peer) -> None:
        peer.answer(b'{"a":1}\n{"b":2}\n')

    service = start_service(start_upstream(Turns(answer)).url, **hedging())
    route = SpeechRoute.STREAM_WITH_TIMESTAMPS
    assert list(service.open_speech(route, "v1", query="", body=b"{}").lines()) == [b'{"a":1}', b'{"b":2}']
    assert service.open_speech(route, "v1", query="", body=b"{}").read_all() == b'{"a":1}\n{"b":2}\n'


def test_speech_in_time_is_asked_for_once(start_upstream: StartUpstream, start_service: StartService) -> None:
    upstream = start_upstream(Turns(audio))
    service = start_service(upstream.url, **{**hedging(), "hedge_after_seconds": WAIT_SECONDS})
    assert speak(service) + speak(service) == b"spoken" * 2
    assert len(upstream.requests) == 2
    assert upstream.accepted == 1  # the connection was given back, and not hung up on, by another thread than asked


@pytest.mark.parametrize(
    ("options", "route"),
    [
        ({"hedge_after_seconds": 0.0}, SpeechRoute.STREAM),
        ({}, SpeechRoute.FULL),
        ({"retrier": retrier(total_seconds=0.5, budget=RetryBudget(share=0.0, minimum=0))}, SpeechRoute.STREAM),
        ({"retrier": retrier(total_seconds=0.5, attempts=1)}, SpeechRoute.STREAM),
    ],
)
def test_there_is_no_hedge_unless_it_is_wanted_makes_sense_and_is_within_the_budget(
    start_upstream: StartUpstream, start_service: StartService, options: dict[str, Any], route: SpeechRoute
) -> None:
    upstream = start_upstream(Turns(hang, audio))
    service = start_service(upstream.url, **{**hedging(total_seconds=0.5), **options})
    with pytest.raises(UpstreamTimeoutError):
        service.open_speech(route, "v1", query="", body=b"{}").read_all()
    assert len(upstream.requests) == 1


def test_hedged_speech_is_not_repeated_too(start_upstream: StartUpstream, start_service: StartService) -> None:
    second_asked = threading.Event()

    def busy_late(peer: Peer) -> None:
        assert second_asked.wait(3 * WAIT_SECONDS)  # a busy machine asks late
        busy(peer)

    def busy_second(peer: Peer) -> None:
        second_asked.set()
        busy(peer)

    upstream = start_upstream(Turns(busy_late, busy_second))
    with pytest.raises(UpstreamBusyError):
        speak(start_service(upstream.url, **hedging()))
    assert len(upstream.requests) == 2


def test_if_neither_speaks_by_the_deadline_both_are_hung_up_on(
    start_upstream: StartUpstream, start_service: StartService
) -> None:
    hung_up = threading.Semaphore(0)

    def be_silent(peer: Peer) -> None:
        peer.await_hang_up()
        hung_up.release()

    upstream = start_upstream(Turns(be_silent))
    began = time.monotonic()
    with pytest.raises(UpstreamTimeoutError):
        speak(start_service(upstream.url, **hedging(total_seconds=1.0)))
    assert 1.0 <= time.monotonic() - began < WAIT_SECONDS
    assert hung_up.acquire(timeout=WAIT_SECONDS)
    assert hung_up.acquire(timeout=WAIT_SECONDS)
    assert len(upstream.requests) == 2
