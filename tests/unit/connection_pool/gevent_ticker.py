"""How far a 0.1 s ticker slips while callers wait for a pool, beside the same ticker alone; prints a line of JSON.

Run as a process of its own by test_pool_gevent.py. In each round the ticker runs alone and then with 50 callers that
wait for one connection, for an opening that hangs, and in vain. The lateness of their timeouts is measured beside
that of a bare event with the same limit.
"""

# ruff: noqa: E402 (gevent patches before anything else is imported)
from gevent import monkey

monkey.patch_all()

import json
import sys
import threading
import time

import gevent

from service.connection_pool import ConnectionPool
from service.errors import PoolTimeoutError

TICK_SECONDS = 0.1
TICKS = 8
LIMIT_SECONDS = 0.5


def tick() -> float:
    """The longest of some ticks."""
    longest = 0.0
    for _ in range(TICKS):
        began = time.monotonic()
        time.sleep(TICK_SECONDS)
        longest = max(longest, time.monotonic() - began)
    return longest


def event_lateness() -> float:
    began = time.monotonic()
    threading.Event().wait(LIMIT_SECONDS)
    return time.monotonic() - began - LIMIT_SECONDS


def busy_round() -> dict[str, float]:
    """One round with a pool that has callers of every kind."""
    release = threading.Event()

    def open_or_hang() -> object:
        if opened:
            release.wait(30)
        opened.append(1)
        return object()

    opened: list[int] = []
    late: list[float] = []
    served: list[int] = []
    pool = ConnectionPool(
        open_or_hang,
        name="ticker",
        close_connection=lambda _: None,
        min_idle=0,
        max_size=2,
        max_waiting=100,
        timeout=30.0,
        max_idle=60.0,
        max_lifetime=60.0,
    )

    def use() -> None:
        for _ in range(10):
            with pool.connection():
                served.append(1)
                time.sleep(0.001)

    def time_out() -> None:
        began = time.monotonic()
        try:
            pool.take(timeout=LIMIT_SECONDS)
        except PoolTimeoutError:
            late.append(time.monotonic() - began - LIMIT_SECONDS)

    with pool:
        held = pool.take()
        waiting = [gevent.spawn(use) for _ in range(40)]
        in_vain = [gevent.spawn(time_out) for _ in range(10)]
        bare = gevent.spawn(event_lateness)
        longest = tick()
        held.give_back()
        gevent.joinall([*waiting, *in_vain], timeout=30)
        release.set()
    assert len(served) == 400
    return {"busy": longest, "late": max(late), "bare_late": bare.get(), "timeouts": len(late)}


if __name__ == "__main__":
    rounds = [{"alone": tick(), **busy_round()} for _ in range(int(sys.argv[1]))]
    print(json.dumps(rounds))
