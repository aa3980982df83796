"""10,000 checkouts under gevent while connections and greenlets are killed at random; the result is a line of JSON.

Run as a process of its own by test_pool_gevent.py: `python -m tests.unit.connection_pool.gevent_storm CHECKOUTS SEED`.
"""

# ruff: noqa: E402 (gevent patches before anything else is imported)
from gevent import monkey

monkey.patch_all()

import contextlib
import json
import random
import sys
import time
from pathlib import Path

import gevent

from service.connection_pool import ConnectionPool
from service.errors import PoolTimeoutError
from tests.unit.connection_pool.equations import assert_reconciled
from tests.unit.connection_pool.killable_proxy import (
    EchoServer,
    KillableProxy,
    close_socket,
    exchange,
    is_silent,
    open_socket,
)

USERS = 40


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Storm:
    """Users that borrow, killers of users and of connections."""

    def __init__(self, checkouts: int) -> None:
        self.left = checkouts
        self.exchanged = self.killed_users = self.killed_connections = self.snapshots = 0
        self.server = EchoServer()
        self.proxy = KillableProxy(self.server.port)
        self.pool = ConnectionPool(
            lambda: open_socket(self.proxy.port),
            name="storm",
            close_connection=close_socket,
            is_healthy=self._check,
            min_idle=2,
            max_size=12,
            max_waiting=USERS,
            timeout=5.0,
            max_idle=1.0,
            max_lifetime=1.0,
        )

    def _check(self, sock: object) -> bool:
        if random.random() < 0.1:
            gevent.sleep(0.001)  # a check during which somebody may be killed
        return is_silent(sock)  # type: ignore[arg-type]

    def _use(self) -> None:
        while self.left > 0:
            with contextlib.suppress(OSError, PoolTimeoutError):
                timeout = random.choice([5.0, 5.0, 5.0, 0.002, 0.0])
                with self.pool.connection(timeout=timeout) as sock:
                    self.left -= 1
                    exchange(sock, b"a word")
                    self.exchanged += 1
                    if random.random() < 0.3:
                        gevent.sleep(random.random() * 0.002)

    def _kill(self) -> None:
        while self.left > 0:
            gevent.sleep(0.002)
            if random.random() < 0.5:
                victim = random.randrange(USERS)
                self.users[victim].kill(block=random.random() < 0.5)
                self.users[victim] = gevent.spawn(self._use)
                self.killed_users += 1
            if random.random() < 0.1:
                self.killed_connections += self.proxy.kill_some(0.3)
            if random.random() < 0.01:
                self.pool.drain()
            if random.random() < 0.02:
                size = random.randint(4, 14)
                self.pool.resize(min_idle=min(2, size), max_size=size)
            assert_reconciled(self.pool.stats())
            self.snapshots += 1

    def rage(self) -> dict[str, object]:
        """Run it to its end, and tell what is left."""
        gevent.sleep(0.01)
        before = descriptors()
        self.pool.start()
        self.users = [gevent.spawn(self._use) for _ in range(USERS)]
        killer = gevent.spawn(self._kill)
        killer.get()
        gevent.joinall(self.users, timeout=30)
        self.pool.close()
        end = time.monotonic() + 20
        while (descriptors() > before or self.server.live) and time.monotonic() < end:
            gevent.sleep(0.02)
        stats = self.pool.stats()
        assert_reconciled(stats)
        return {
            "stats": stats.as_dict(),
            "descriptors": [before, descriptors()],
            "live_at_server": self.server.live,
            "accepted_by_server": self.server.accepted,
            "exchanged": self.exchanged,
            "killed_users": self.killed_users,
            "killed_connections": self.killed_connections,
            "snapshots": self.snapshots,
        }


if __name__ == "__main__":
    random.seed(int(sys.argv[2]))
    with gevent.Timeout(80):  # whoever started this may be gone
        print(json.dumps(Storm(int(sys.argv[1])).rage()))
