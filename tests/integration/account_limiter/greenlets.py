# ruff: noqa: E402  # gevent patches before anything else is imported
"""Run by `test_greenlets.py` in a process of its own: waiters are killed as a worker kills its greenlets."""

from gevent import monkey

monkey.patch_all()

import sys

import gevent

from scripts.launcher.waiting import wait_until
from service.account_limiter import AccountLimiter, Priority
from tests.integration.account_limiter.conftest import client

WAITERS = 40


def main(url: str) -> None:
    limiter = AccountLimiter(client(url), name="greenlets", cap=1, ttl_seconds=6.0)
    limiter.start()
    lease = limiter.acquire(Priority.LIVE_TURN, timeout=10)
    got = []

    def take(number: int) -> None:
        with limiter.acquire(Priority.LIVE_TURN, timeout=30):
            got.append(number)

    waiters = [gevent.spawn(take, number) for number in range(WAITERS)]
    gevent.sleep(0)  # some are in the midst of their first question now, and are killed there
    gevent.killall(waiters[::4])
    wait_until(lambda: limiter.stats().waiting[Priority.LIVE_TURN] == WAITERS * 3 // 4)
    gevent.killall(waiters[1::4])
    wait_until(lambda: limiter.stats().waiting[Priority.LIVE_TURN] == WAITERS // 2)
    lease.release()
    gevent.joinall(waiters, timeout=30, raise_error=True)
    wait_until(lambda: limiter.stats().held == 0)
    stats = limiter.stats()
    limiter.close()
    print(len(got), stats.held_here, stats.lost, sum(stats.waiting.values()))


if __name__ == "__main__":
    main(sys.argv[1])
