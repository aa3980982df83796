"""What goes on behind the callers' backs: warm connections, ageing, new sizes, new generations, the end."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest

from scripts.launcher.waiting import wait_until
from service.errors import PoolClosedError
from service.pool_parts import PoolLimits
from tests.unit.connection_pool.conftest import MakePool
from tests.unit.connection_pool.killable_proxy import EchoServer, KillableProxy, exchange, open_socket
from tests.unit.connection_pool.test_pool_lending import Aside, Pool, wait_for_waiters


def wait_for_idle(pool: Pool, count: int) -> None:
    wait_until(lambda: pool.stats().idle == count, 20, f"{count} idle")


def test_a_pool_keeps_connections_ready_besides_those_lent(make_pool: MakePool) -> None:
    pool = make_pool(min_idle=2, max_size=5)
    wait_for_idle(pool, 2)
    lent = [pool.take(timeout=0), pool.take(timeout=0)]
    wait_for_idle(pool, 2)
    lent += [pool.take(timeout=0), pool.take(timeout=0)]
    wait_for_idle(pool, 1)  # five are all there may be
    assert pool.stats().size == 5
    for each in lent:
        each.give_back()
    assert pool.stats().reused == 0


def test_the_pool_fills_again_when_the_server_is_back(make_pool: MakePool, proxy: KillableProxy) -> None:
    pool = make_pool(min_idle=2)
    wait_for_idle(pool, 2)
    proxy.go_down()
    wait_until(lambda: server_is_refusing(pool), 20, "both are found dead")
    wait_until(lambda: pool.stats().failed >= 3, 20, "the refill tries, and tries again")
    proxy.come_back()
    wait_for_idle(pool, 2)
    with pool.connection(timeout=0) as sock:
        exchange(sock, b"back")


def server_is_refusing(pool: Pool) -> bool:
    try:
        pool.take(timeout=0.5).give_back()
    except OSError:
        return True
    return False


def test_what_rests_for_too_long_is_closed_and_replaced(make_pool: MakePool, server: EchoServer) -> None:
    pool = make_pool(min_idle=1, max_idle=1.0)
    wait_until(lambda: pool.stats().expired >= 1 and server.accepted >= 2, 20, "a second one")
    wait_for_idle(pool, 1)


def test_what_has_lived_for_too_long_is_closed_when_it_comes_back(make_pool: MakePool, server: EchoServer) -> None:
    pool = make_pool(max_lifetime=0.05)
    lent = pool.take()
    threading.Event().wait(0.06)  # time itself is the condition
    lent.give_back()
    stats = pool.stats()
    assert (stats.expired, stats.returned, stats.idle) == (1, 1, 0)
    wait_until(lambda: server.live == 0, 10, "it is closed")


def test_a_larger_pool_serves_who_waits_already(make_pool: MakePool) -> None:
    pool = make_pool(max_size=1)
    lent = pool.take()
    waiters = [Aside(pool.take) for _ in range(2)]
    wait_for_waiters(pool, 2)
    pool.resize(min_idle=0, max_size=3)
    served: list[Any] = [waiter.join() for waiter in waiters]
    for each in [lent, *served]:
        each.give_back()
    assert pool.stats().idle == 3


def test_a_smaller_pool_closes_what_is_idle_at_once_and_what_is_lent_when_it_comes_back(
    make_pool: MakePool, server: EchoServer
) -> None:
    pool = make_pool(max_size=4)
    lent = [pool.take() for _ in range(4)]
    lent.pop().give_back()
    pool.resize(min_idle=0, max_size=2)
    wait_until(lambda: server.live == 3, 10, "the idle one is closed")
    lent.pop().give_back()
    wait_until(lambda: server.live == 2, 10, "the first that comes back is closed")
    lent.pop().give_back()
    assert pool.stats().idle == 1
    lent.pop().give_back()
    stats = pool.stats()
    assert (stats.idle, stats.retired, stats.max_size, server.live) == (2, 2, 2, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_size": 0},
        {"min_idle": 5},
        {"min_idle": -1},
        {"max_waiting": -1},
        {"max_idle": 0.0},
        {"max_lifetime": -1.0},
        {"max_idle": 0.9, "min_idle": 1},
        {"max_lifetime": 0.9, "min_idle": 1},
    ],
)
def test_bounds_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    good: dict[str, Any] = {"min_idle": 0, "max_size": 4, "max_waiting": 0, "max_idle": 1.0, "max_lifetime": 1.0}
    PoolLimits(**good)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PoolLimits(**{**good, **wrong})


def test_after_a_drain_the_old_generation_finishes_and_the_new_one_serves(
    make_pool: MakePool, server: EchoServer
) -> None:
    pool = make_pool(max_size=4, min_idle=1)
    wait_for_idle(pool, 1)
    old = pool.take()
    wait_for_idle(pool, 1)
    pool.drain()
    wait_until(lambda: pool.stats().retired == 1, 10, "the idle one is closed")
    exchange(old.connection, b"the old one goes on")
    with pool.connection() as new:
        assert new is not old.connection
        exchange(new, b"the new one serves")
    old.give_back()
    stats = pool.stats()
    assert (stats.retired, stats.returned) == (2, 2)
    assert old.connection.fileno() == -1


def test_what_was_being_opened_when_the_pool_was_drained_is_not_lent(make_pool: MakePool) -> None:
    opening, go_on = threading.Event(), threading.Event()
    opened: list[socket.socket] = []

    def open_slowly() -> socket.socket:
        opened.append(socket.socket())
        mine = opened[-1]
        opening.set()
        assert len(opened) > 1 or go_on.wait(30)
        return mine

    pool = make_pool(open_connection=open_slowly, is_healthy=lambda _: True, max_size=1)
    taker = Aside(pool.take)
    assert opening.wait(20)
    pool.drain()  # a key was changed while the first connection was opened with the old one
    go_on.set()
    lent: Any = taker.join()
    assert lent.connection is opened[1]
    assert opened[0].fileno() == -1
    lent.give_back()


def test_closing_tells_who_waits_and_closes_everything(make_pool: MakePool, server: EchoServer) -> None:
    pool = make_pool(max_size=2, min_idle=1)
    lent = [pool.take(), pool.take()]
    waiter = Aside(pool.take)
    wait_for_waiters(pool, 1)
    lent.pop().discard()
    waiter.join().give_back()  # type: ignore[attr-defined]
    held = pool.take()
    late = Aside(pool.take)
    wait_for_waiters(pool, 1)
    pool.close()
    with pytest.raises(PoolClosedError, match="pool test: closed"):
        late.join()
    with pytest.raises(PoolClosedError):
        pool.take()
    held.give_back()
    lent.pop().give_back()
    wait_until(lambda: server.live == 0, 10, "everything is closed")
    assert pool.stats().size == 0
    pool.close()
    with pytest.raises(PoolClosedError):
        pool.start()


def test_closing_ends_the_threads_of_the_pool(make_pool: MakePool) -> None:
    pool = make_pool(min_idle=2)
    wait_for_idle(pool, 2)
    pool.close()
    wait_until(
        lambda: not [t for t in threading.enumerate() if t.name in {"pool test", "open test"}], 10, "threads end"
    )


def test_closing_does_not_wait_longer_than_it_may_for_an_opening_that_hangs(
    make_pool: MakePool,
) -> None:
    go_on = threading.Event()

    def hang() -> socket.socket:
        go_on.wait(30)
        return socket.socket()

    pool = make_pool(open_connection=hang, is_healthy=lambda _: True, min_idle=1)
    wait_until(lambda: pool.stats().opening == 1, 20, "it is being opened")
    pool.close(timeout=0.05)
    assert pool.stats().opening == 1
    go_on.set()
    wait_until(lambda: pool.stats().size == 0, 20, "what came late is closed")
    assert pool.stats().retired == 1


def test_a_pool_that_was_started_without_ready_connections_cannot_be_told_to_keep_some(make_pool: MakePool) -> None:
    """Those would be opened by callers themselves, without a deadline."""
    pool = make_pool(opens_at_once=True)
    with pytest.raises(ValueError, match="was started without connections that lie ready"):
        pool.resize(min_idle=1, max_size=4)
    pool.resize(min_idle=0, max_size=2)
    assert pool.stats().max_size == 2


def test_a_refill_does_not_wait_because_opening_has_just_failed(make_pool: MakePool, proxy: KillableProxy) -> None:
    fails = threading.Event()
    fails.set()

    def open_connection() -> socket.socket:
        if fails.is_set():
            raise OSError("away")
        return open_socket(proxy.port)

    pool = make_pool(open_connection=open_connection, min_idle=1)
    wait_until(lambda: pool._state.next_refill_in(time.monotonic()) is not None, 10, "it waits after a failure")
    fails.clear()
    with pool._lock:
        pool._state._refill_from = time.monotonic() + 3600
    pool.refill()
    wait_until(lambda: pool.stats().idle == 1, 10, "it is opened all the same")
