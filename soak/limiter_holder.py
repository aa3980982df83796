"""A process that takes leases, holds them for a while and gives them back: `python -m soak.limiter_holder JSON`.

The JSON says where Redis and the oracle are, how many threads take leases, how far this process's clock is off, and
what the limiter is made with. It ends when the oracle does.
"""

from __future__ import annotations

import itertools
import random
import socket
import sys
import threading
import time
from typing import Any

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.account_limiter import AccountLimiter, Lease, Priority
from service.errors import CapacityError
from soak import limiter_oracle

ASK_SECONDS = 8.0
SHORT_SECONDS, LONG_SECONDS = (0.02, 0.4), (0.5, 4.0)
LONG_ONES = 0.3
REST_SECONDS = (0.0, 0.05)
SLICE_SECONDS = 0.02
CLASSES = (Priority.LIVE_TURN, Priority.LIVE_TURN, Priority.GREETING, Priority.OTHER, Priority.OTHER)


class Holder:
    """What the threads of this process share."""

    def __init__(self, limiter: AccountLimiter, oracle: socket.socket) -> None:
        self._limiter = limiter
        self._oracle = oracle
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def run(self, threads: int) -> None:
        """Take leases until the oracle is gone."""
        running = [threading.Thread(target=self._take_leases, daemon=True) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    def _take_leases(self) -> None:
        try:
            while True:
                self._take_one()
                time.sleep(random.uniform(*REST_SECONDS))
        except OSError:
            return  # the oracle has seen enough

    def _take_one(self) -> None:
        asked_at = time.monotonic()
        priority = random.choice(CLASSES)
        try:
            lease = self._limiter.acquire(priority, timeout=ASK_SECONDS)
        except CapacityError:
            self._tell(kind="timeout")
            return
        with lease:
            self._hold(lease, priority, asked_at)

    def _hold(self, lease: Lease, priority: Priority, asked_at: float) -> None:
        number = next(self._numbers)
        fence, valid_until = lease.fence, lease.valid_until
        self._tell(
            kind="granted", number=number, pid=PID, priority=priority.value, place=lease.place, fence=fence,
            asked_at=asked_at, granted_at=time.monotonic(), valid_until=valid_until, is_static=fence == 0,
        )  # fmt: skip
        length = LONG_SECONDS if random.random() < LONG_ONES else SHORT_SECONDS
        end = time.monotonic() + random.uniform(*length)
        while time.monotonic() < end and not lease.is_lost:
            if lease.valid_until != valid_until:
                valid_until = lease.valid_until
                self._tell(kind="renewed", number=number, valid_until=valid_until)
            time.sleep(SLICE_SECONDS)
        how = limiter_oracle.LOST if lease.is_lost else limiter_oracle.GIVEN_BACK
        self._tell(kind=how, number=number, at=time.monotonic())

    def _tell(self, **said: Any) -> None:
        with self._lock:
            self._oracle.sendall(orjson.dumps(said) + b"\n")


def main(plan: dict[str, Any]) -> None:
    """Do as `plan` says."""
    true_time = time.time
    time.time = lambda: true_time() + plan["clock_off_seconds"]
    store = redis.Redis.from_url(
        plan["redis_url"], socket_timeout=0.25, socket_connect_timeout=0.25, retry=Retry(NoBackoff(), 1)
    )
    limiter = AccountLimiter(store, **plan["limiter"])
    limiter.start()
    with socket.create_connection(("127.0.0.1", plan["oracle_port"]), timeout=10.0) as oracle:
        oracle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Holder(limiter, oracle).run(plan["threads"])
    limiter.close()


if __name__ == "__main__":
    import os

    PID = os.getpid()
    main(orjson.loads(sys.argv[1]))
