"""Slots by plan: who runs, who waits, who is refused; and the account's other limits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed

from scripts.launcher.waiting import wait_until
from tests import servers
from tests.integration.sandbox.account import SECONDS, SENTENCE, Account, hear, open_account, say


@pytest.fixture(scope="module")
def _free_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    options = ("--plan", "free", "--queue-seconds", "0.3", "--no-ears")
    running = servers.start_sandbox(tmp_path_factory.mktemp("sandbox"), *options)
    with open_account(running.url) as account:
        yield account
    running.child.stop()


@pytest.fixture
def free(_free_sandbox: Account) -> Account:
    """An account on the free plan: two slots for multilingual speech, four for flash; at the real pace."""
    wait_until(
        lambda: not any(slots["now"] for slots in _free_sandbox.stats()["concurrency"].values()), SECONDS, "idle"
    )
    _free_sandbox.reset()
    return _free_sandbox


@contextmanager
def _speaking(account: Account, count: int, **request: Any) -> Iterator[list[requests.Response]]:
    """Hold `count` answers that are still being spoken."""
    with ExitStack() as held:
        # The pace (four times real time) and the buffers of TCP keep so long an answer open.
        yield [
            held.enter_context(account.speak("/stream", stream=True, text=SENTENCE * 40, **request))
            for _ in range(count)
        ]


def test_one_more_than_the_plan_allows_is_refused_after_the_queue(free: Account) -> None:
    with _speaking(free, 2) as answers:
        assert [answer.headers["current-concurrent-requests"] for answer in answers] == ["1", "2"]
        refused = free.speak()
    detail = refused.json()["detail"]
    assert refused.status_code == 429
    assert (detail["code"], detail["status"]) == ("concurrent_limit_exceeded", "too_many_concurrent_requests")
    assert "maximum of 2 concurrent requests" in detail["message"]


def test_flash_has_slots_of_its_own(free: Account) -> None:
    with _speaking(free, 2), _speaking(free, 4, model_id="eleven_flash_v2_5"):
        assert free.speak(model_id="eleven_flash_v2_5").status_code == 429
        stats = free.stats()["concurrency"]
    assert (stats["speech_standard"]["peak"], stats["speech_turbo"]["peak"]) == (2, 4)


def test_a_waiting_request_gets_the_slot_that_becomes_free(start_sandbox: Any) -> None:
    url = start_sandbox("--plan", "free", "--queue-seconds", "20", "--no-ears").url
    with open_account(url) as account, ThreadPoolExecutor(1) as pool, ExitStack() as held:
        first, _ = held.enter_context(_speaking(account, 2))
        waiting = pool.submit(account.speak, model_id="eleven_multilingual_v2")
        wait_until(lambda: account.stats()["requests"].get("tts.convert") == 1, SECONDS, "the third request")
        assert not waiting.done()
        first.close()
        assert waiting.result(SECONDS).status_code == 200
        assert account.stats()["concurrency"]["speech_standard"]["peak"] == 2


def test_a_client_that_goes_away_gives_its_slot_back(free: Account) -> None:
    for _ in range(3):
        with _speaking(free, 2):
            assert free.stats()["concurrency"]["speech_standard"]["now"] == 2
        wait_until(lambda: free.stats()["concurrency"]["speech_standard"]["now"] == 0, SECONDS, "the free slots")


def test_a_socket_counts_only_while_it_speaks(free: Account) -> None:
    with free.socket() as idle, free.socket() as other:
        for socket in (idle, other):
            say(socket, text=" ")
        assert free.stats()["concurrency"]["speech_turbo"]["now"] == 0
        say(other, text=SENTENCE * 5, flush=True)
        assert hear(other)["audio"]
        assert free.stats()["concurrency"]["speech_turbo"]["now"] == 1


def test_a_socket_that_gets_no_slot_is_told_so_and_closed(free: Account) -> None:
    with _speaking(free, 4, model_id="eleven_flash_v2_5"), free.socket() as socket:
        say(socket, text=" ")
        say(socket, text=SENTENCE, flush=True)
        frame = hear(socket)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(SECONDS)
    assert (frame["error"], frame["code"]) == ("concurrent_limit_exceeded", 1008)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_many_at_once_never_exceed_the_plan(free: Account) -> None:
    barrier = threading.Barrier(12)

    def ask() -> int:
        barrier.wait(SECONDS)
        return free.speak(text="Hello there.").status_code

    with ThreadPoolExecutor(12) as pool:
        statuses = [asked.result(SECONDS) for asked in [pool.submit(ask) for _ in range(12)]]
    slots = free.stats()["concurrency"]["speech_standard"]
    assert set(statuses) == {200, 429}
    assert slots == {"now": 0, "peak": 2, "maximum": 2}


def test_old_clients_see_old_error_bodies(start_sandbox: Any) -> None:
    url = start_sandbox("--plan", "free", "--queue-seconds", "0", "--old-errors", "--no-ears").url
    with open_account(url) as account, _speaking(account, 2):
        assert account.speak().json() == {
            "detail": {
                "status": "too_many_concurrent_requests",
                "message": "Too many concurrent requests. Your current subscription is associated with a maximum of "
                "2 concurrent requests (running in parallel).",
            }
        }
