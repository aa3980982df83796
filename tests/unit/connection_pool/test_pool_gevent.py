"""The pool in a gevent-patched process, as our workers are: nobody is held up, nobody who is killed takes a connection
with them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.servers import ROOT, clean_environment

TICK_SECONDS = 0.1
ROUNDS = 6


def run(module: str, *arguments: object) -> Any:
    """What the module prints, run as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-m", f"tests.unit.connection_pool.{module}"]
        + [str(each) for each in arguments],
        check=False,
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "Traceback" not in done.stderr, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_ten_thousand_checkouts_with_connections_and_greenlets_killed_at_random_leave_nothing() -> None:
    found = run("gevent_storm", 10_000, 4)
    stats = found["stats"]
    assert stats["served"] >= 10_000
    assert found["killed_users"] > 100
    assert found["killed_connections"] > 50
    assert found["exchanged"] > 1_000
    for kind in ("cancelled", "discarded", "lost", "timeouts", "reused"):
        assert stats[kind] > 0, kind
    # Counted by the process, by the server and by the pool.
    assert found["descriptors"][1] <= found["descriptors"][0]
    assert found["live_at_server"] == 0
    assert stats["size"] == stats["pending"] == 0
    assert stats["abandoned"] == 0  # nobody was killed where even the pool did not notice
    assert found["accepted_by_server"] >= stats["opened"]


def test_a_ticker_does_not_slip_and_a_timeout_comes_in_time_while_callers_wait() -> None:
    """The issue's numbers: 20 % of a tick, and 50 ms for a timeout.

    The machine itself may make a tick late, so what the same ticker and a bare event do in the same process is
    allowed for, and one quiet round of a few is enough: a pool that blocks does so in every round.
    """
    for _ in range(ROUNDS):
        (found,) = run("gevent_ticker", 1)
        assert found["timeouts"] == 10
        slip = found["busy"] - max(found["alone"], TICK_SECONDS)
        late = found["late"] - max(found["bare_late"], 0.0)
        if slip <= 0.2 * TICK_SECONDS and late <= 0.05:
            return
    raise AssertionError(found)


PREAMBLE = """
from gevent import monkey
monkey.patch_all()
import gevent, json
from service.connection_pool import ConnectionPool

pool = ConnectionPool(object, name="p", close_connection=lambda c: None, min_idle=0, max_size=1, max_waiting=9,
                      timeout=30.0, max_idle=60.0, max_lifetime=60.0)
pool.start()
lent = pool.take()
got = []
def use(number):
    with pool.connection() as connection:
        got.append(number)
waiters = [gevent.spawn(use, number) for number in range(3)]
gevent.sleep(0.01)
assert pool.stats().waiting == 3
"""
EPILOGUE = """
gevent.joinall(waiters, timeout=10)
stats = pool.stats()
pool.close()
print(json.dumps([got, stats.opened, stats.cancelled, stats.idle]))
"""


def run_script(step: str) -> Any:
    """Three greenlets wait for the one connection there is, then comes `step`: who was served, and three counters."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + step + EPILOGUE],
        check=False,
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_greenlet_killed_in_the_moment_of_the_hand_over_loses_nothing() -> None:
    """It dies as soon as the loop turns; when the connection comes free it still waits, and it is its turn."""
    found = run_script("""
waiters[0].kill(block=False)
lent.give_back()
assert pool.stats().waiting == 2 and pool.stats().lent == 1
""")
    assert found == [[1, 2], 1, 1, 1]


def test_a_connection_may_be_ended_in_a_callback_of_the_loop_which_must_not_wait() -> None:
    found = run_script("gevent.get_hub().loop.run_callback(lent.discard)")
    assert found == [[0, 1, 2], 2, 0, 1]
