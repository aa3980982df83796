"""The pool as its callers meet it: real sockets, real threads, a far end that breaks."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time

import pytest

from scripts.launcher.waiting import wait_until
from service.connection_pool import ConnectionPool
from service.errors import PoolClosedError, PoolExhaustedError, PoolTimeoutError
from tests.unit.connection_pool.conftest import MakePool
from tests.unit.connection_pool.equations import assert_reconciled
from tests.unit.connection_pool.killable_proxy import EchoServer, KillableProxy, exchange, open_socket

Pool = ConnectionPool[socket.socket]


class Aside:
    """`step` in a thread of its own; `join` gives its result or raises its error."""

    def __init__(self, step: object) -> None:
        self._step = step
        self.result: object = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._step()  # type: ignore[operator]
        except BaseException as exc:
            self.error = exc

    def join(self) -> object:
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.result


def wait_for_waiters(pool: Pool, count: int) -> None:
    wait_until(lambda: pool.stats().waiting == count, 20, f"{count} waiters")


def test_making_a_pool_opens_nothing_and_lends_nothing(server: EchoServer, proxy: KillableProxy) -> None:
    before = threading.active_count()
    pool: Pool = ConnectionPool(
        lambda: open_socket(proxy.port),
        name="agents",
        close_connection=socket.socket.close,
        min_idle=2,
        max_size=2,
        max_waiting=1,
        timeout=1,
        max_idle=1,
        max_lifetime=1,
    )
    with pytest.raises(PoolClosedError, match="pool agents: not started"):
        pool.take()
    assert (server.accepted, threading.active_count()) == (0, before)
    assert_reconciled(pool.stats())


def test_a_connection_that_was_given_back_is_lent_again(make_pool: MakePool, server: EchoServer) -> None:
    pool = make_pool()
    for _ in range(5):
        with pool.connection() as sock:
            exchange(sock, b"a word")
    stats = pool.stats()
    assert (stats.opened, stats.served, stats.reused, stats.returned, server.accepted) == (1, 5, 4, 5, 1)
    assert stats.wait_seconds > 0
    assert stats.use_seconds > 0
    assert 0 < stats.use_seconds_recent_max <= stats.use_seconds


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, SystemExit])
def test_a_block_that_raises_closes_its_connection(
    make_pool: MakePool, server: EchoServer, error: type[BaseException]
) -> None:
    pool = make_pool()
    with pytest.raises(error), pool.connection():
        raise error
    wait_until(lambda: server.live == 0, 10, "the server sees the end")
    stats = pool.stats()
    assert (stats.discarded, stats.size, stats.returned) == (1, 0, 0)


def test_a_borrower_may_end_only_once(make_pool: MakePool) -> None:
    pool = make_pool()
    lent = pool.take()
    lent.give_back()
    lent.discard()
    lent.give_back()
    stats = pool.stats()
    assert (stats.idle, stats.returned, stats.discarded) == (1, 1, 0)


def test_a_connection_that_its_borrower_forgot_is_closed_and_its_place_is_free(
    make_pool: MakePool, server: EchoServer
) -> None:
    pool = make_pool(max_size=1)
    lent = pool.take()
    del lent
    gc.collect()
    with pool.connection():
        assert pool.stats().abandoned == 1
    wait_until(lambda: server.live == 1, 10, "the forgotten one is closed")


def test_what_opening_ended_with_is_told_unchanged_and_at_once(make_pool: MakePool, proxy: KillableProxy) -> None:
    pool = make_pool()
    proxy.go_down()
    with pytest.raises(ConnectionRefusedError):
        pool.take(timeout=60)
    stats = pool.stats()
    assert (stats.unopened, stats.size, stats.opened) == (1, 0, 0)
    assert stats.failed >= 1


def test_callers_of_a_cold_pool_have_their_connections_opened_side_by_side(make_pool: MakePool) -> None:
    together = threading.Barrier(4, timeout=20)

    def open_together() -> socket.socket:
        together.wait()
        return socket.socket()

    pool = make_pool(open_connection=open_together, is_healthy=lambda _: True)
    takers = [Aside(lambda: pool.take(timeout=30)) for _ in range(4)]
    for taker in takers:
        taker.join().give_back()  # type: ignore[attr-defined]
    wait_until(lambda: pool.stats().opened == 4, 20.0, "the openers have counted theirs")


def test_what_is_opened_without_io_is_opened_by_who_needs_it(make_pool: MakePool) -> None:
    openers: list[threading.Thread] = []

    def make() -> socket.socket:
        openers.append(threading.current_thread())
        return socket.socket()

    pool = make_pool(open_connection=make, is_healthy=lambda _: True, opens_at_once=True)
    pool.take().discard()
    pool.take().give_back()
    assert openers == [threading.current_thread()] * 2


def test_a_timeout_holds_however_long_opening_hangs(make_pool: MakePool, proxy: KillableProxy) -> None:
    proxy.hang()
    pool = make_pool()
    began = time.monotonic()
    with pytest.raises(PoolTimeoutError, match=r"pool test: no connection within 0\.2 s \(0 lent, 0 idle, 1 opening"):
        pool.take(timeout=0.2)
    took = time.monotonic() - began
    assert took >= 0.2
    assert took < 4  # opening gives up after 5; the bound of 50 ms is measured in test_pool_gevent.py
    proxy.close()  # the opener hears of it, and ends
    wait_until(lambda: pool.stats().opening == 0, 20, "the opener ends")


def test_without_patience_there_is_a_ready_connection_or_none(make_pool: MakePool, server: EchoServer) -> None:
    pool = make_pool()
    with pytest.raises(PoolTimeoutError):
        pool.take(timeout=0)
    assert server.accepted == 0
    pool.take().give_back()
    pool.take(timeout=0).give_back()
    assert server.accepted == 1


def test_who_waits_is_served_in_the_order_of_arrival_and_a_newcomer_overtakes_nobody(make_pool: MakePool) -> None:
    pool = make_pool(max_size=1)
    order: list[int] = []
    lent = pool.take()

    def use(number: int) -> None:
        with pool.connection():
            order.append(number)

    waiters = []
    for number in range(12):
        waiters.append(Aside(lambda number=number: use(number)))
        wait_for_waiters(pool, number + 1)
    lent.give_back()
    use(12)  # asks in the very moment when the connection comes free
    for waiter in waiters:
        waiter.join()
    assert order == list(range(13))
    assert pool.stats().opened == 1


def test_a_full_queue_refuses_at_once_and_says_how_full_it_is(make_pool: MakePool) -> None:
    pool = make_pool(max_size=1, max_waiting=2)
    lent = pool.take()
    waiters = [Aside(lambda: pool.take().give_back()) for _ in range(2)]
    wait_for_waiters(pool, 2)
    with pytest.raises(PoolExhaustedError, match=r"max_waiting=2 \(1 lent, 0 idle, 0 opening, 2 waiting, max_size=1\)"):
        pool.take(timeout=3600)
    lent.give_back()
    for waiter in waiters:
        waiter.join()
    assert pool.stats().exhausted == 1


def test_nobody_is_refused_who_only_waits_for_an_opening(make_pool: MakePool) -> None:
    go_on = threading.Event()

    def open_slowly() -> socket.socket:
        assert go_on.wait(30)
        return socket.socket()

    pool = make_pool(open_connection=open_slowly, is_healthy=lambda _: True, max_size=3, max_waiting=0)
    takers = [Aside(lambda: pool.take(timeout=30)) for _ in range(3)]
    wait_for_waiters(pool, 3)
    with pytest.raises(PoolExhaustedError):
        pool.take()
    go_on.set()
    for taker in takers:
        taker.join().give_back()  # type: ignore[attr-defined]


def test_a_connection_that_died_at_rest_is_found_out_before_it_is_lent(
    make_pool: MakePool, proxy: KillableProxy, server: EchoServer
) -> None:
    pool = make_pool(max_size=3)
    lent = [pool.take() for _ in range(3)]
    for each in lent:
        each.give_back()
    assert proxy.kill_some() == 3
    wait_until(lambda: server.live == 0, 10, "the connections are dead")
    with pool.connection() as sock:
        exchange(sock, b"alive")
    stats = pool.stats()
    assert (stats.lost, stats.opened, stats.unopened) == (3, 4, 0)


def test_a_check_that_raises_is_a_check_that_failed(make_pool: MakePool) -> None:
    def check(_: socket.socket) -> bool:
        raise OSError("no such thing")

    pool = make_pool(is_healthy=check)
    pool.take().give_back()
    pool.take().give_back()
    assert pool.stats().lost == 1


def test_no_lock_is_held_while_a_connection_is_opened_checked_or_closed(
    make_pool: MakePool, proxy: KillableProxy
) -> None:
    seen: list[str] = []

    def look(where: str) -> None:
        # Were the lock held, this would hang.
        seen.append(where if Aside(pool.stats).join() else "")

    def opens() -> socket.socket:
        look("open")
        return open_socket(proxy.port)

    def checks(_: socket.socket) -> bool:
        look("check")
        return True

    def closes(sock: socket.socket) -> None:
        look("close")
        sock.close()

    pool = make_pool(open_connection=opens, is_healthy=checks, close_connection=closes)
    pool.take().give_back()
    pool.take().discard()
    pool.close()
    assert seen == ["open", "check", "close"]


def test_a_close_that_fails_costs_no_place(make_pool: MakePool) -> None:
    def fails(sock: socket.socket) -> None:
        sock.close()
        raise OSError("already gone")

    pool = make_pool(close_connection=fails, max_size=1)
    for _ in range(3):
        pool.take().discard()
    assert pool.stats().size == 0


def test_many_threads_and_a_far_end_that_breaks_leave_no_leak(
    make_pool: MakePool, proxy: KillableProxy, server: EchoServer
) -> None:
    pool = make_pool(max_size=5, min_idle=1)
    ended = threading.Event()

    def use_often() -> int:
        good = 0
        for _ in range(150):
            with contextlib.suppress(OSError), pool.connection() as sock:
                exchange(sock, b"a word")
                good += 1
        return good

    def breaks() -> None:
        while not ended.wait(0.005):
            proxy.kill_some(0.2)
            assert_reconciled(pool.stats())

    breaker = Aside(breaks)
    users = [Aside(use_often) for _ in range(10)]
    good = sum(int(user.join()) for user in users)  # type: ignore[call-overload]
    ended.set()
    breaker.join()
    pool.close()
    stats = pool.stats()
    assert_reconciled(stats)
    assert good > 0
    assert stats.discarded + stats.lost > 0
    assert (stats.requests, stats.size, stats.pending) == (1500, 0, 0)
    wait_until(lambda: server.live == 0, 10, "no connection is left")
