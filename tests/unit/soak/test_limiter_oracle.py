"""What the limiter's oracle must see, on holdings made up for it."""

from __future__ import annotations

import socket
import time

import orjson

from scripts.launcher.waiting import wait_until
from soak.limiter_oracle import DIED, Holding, Oracle, overtaken, peak


def holding(granted_at: float, ended_at: float, **other: object) -> Holding:
    standard = {"pid": 1, "priority": 1, "place": 1, "fence": 1, "asked_at": granted_at, "valid_until": 1e9}
    return Holding(**{**standard, "granted_at": granted_at, "ended_at": ended_at, "is_static": False, **other})


def test_leases_that_follow_each_other_without_a_gap_are_one_at_a_time() -> None:
    assert peak([holding(0, 1), holding(1, 2), holding(2, 3)]) == 1


def test_leases_that_overlap_are_counted() -> None:
    assert peak([holding(0, 5), holding(1, 3), holding(2, 4), holding(3, 6)]) == 3


def test_a_lease_counts_only_as_long_as_its_holder_may_trust_it() -> None:
    assert peak([holding(0, 9, valid_until=2), holding(3, 4)]) == 1
    assert peak([holding(0, 9, valid_until=3.5), holding(3, 4)]) == 2


def test_who_is_granted_after_a_later_one_of_its_class_was_overtaken() -> None:
    early, late = holding(5, 6, place=1, fence=20, asked_at=0), holding(4, 5, place=2, fence=10, asked_at=1)
    assert overtaken([early, late], {}) == [early]
    assert overtaken([early, late], {1: [(2, 3)]}) == []
    assert overtaken([early, holding(4, 5, place=2, fence=10, asked_at=1, priority=2)], {}) == []


def test_a_process_that_dies_ends_what_it_held() -> None:
    oracle = Oracle()
    with socket.create_connection(("127.0.0.1", oracle.port), timeout=10) as process:
        said = {"kind": "granted", "number": 1, "pid": 1, "priority": 1, "place": 1, "fence": 2, "asked_at": 0.0}
        said |= {"granted_at": time.monotonic(), "valid_until": 1e9, "is_static": False}
        process.sendall(orjson.dumps(said) + b"\n" + b'{"kind": "renewed", "num')  # it is killed while it speaks
        wait_until(oracle.snapshot)
    wait_until(lambda: oracle.snapshot()[0].how == DIED)
    assert oracle.snapshot()[0].ended_at <= time.monotonic()
    oracle.close()
