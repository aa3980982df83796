"""Guessing is slowed down by account and by network, and nobody is locked out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from dashboard.access import throttle as throttling
from dashboard.access.throttle import FREE_FOR_ACCOUNT, FREE_FOR_NETWORK, LoginThrottle
from service.errors import TooManyRequestsError
from tests.dashboard.dashboards import Dashboard


def wait_of(throttle: LoginThrottle, name: str, address: str) -> float:
    """How long the next try has to wait; it is taken if that is 0."""
    try:
        throttle.take(name, address)
    except TooManyRequestsError as exc:
        return exc.retry_after
    return 0.0


def test_the_wait_doubles_with_each_failure_up_to_a_minute(dashboard: Dashboard) -> None:
    throttle, store = dashboard.parts.throttle, dashboard.store
    delays = []
    for place in range(11):
        before = milliseconds(store)
        throttle.take("maria", f"10.0.0.{place}")
        after = milliseconds(store)
        [account] = store.scan_iter("vocero:sign_in:account:*")
        again_at = int(store.hget(account, "again_at") or 0)
        delays += [delay for delay in (0, 1, 2, 4, 8, 16, 32, 60) if before <= again_at - delay * 1000 <= after]
        store.hdel(account, "again_at")  # as if the delay were over, while the failures are remembered
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_the_wait_counts_from_the_refusal_however_long_it_took_to_look_at_the_password(dashboard: Dashboard) -> None:
    throttle, store = dashboard.parts.throttle, dashboard.store
    for _ in range(FREE_FOR_ACCOUNT):
        throttle.take("maria", "10.0.0.1")
    [account] = store.scan_iter("vocero:sign_in:account:*")
    store.hset(account, "again_at", milliseconds(store) - 1)  # as if its hashing had taken so long
    throttle.refused("maria", "10.0.0.1")
    assert wait_of(throttle, "maria", "10.0.0.1") == 1
    assert int(store.hget(account, "failures") or 0) == FREE_FOR_ACCOUNT


def milliseconds(store: redis.Redis) -> int:
    seconds, microseconds = store.time()
    return seconds * 1000 + microseconds // 1000


def test_a_network_has_more_room_than_an_account_and_is_slowed_down_too(dashboard: Dashboard) -> None:
    throttle = dashboard.parts.throttle
    waits = [wait_of(throttle, f"name {each}", "10.0.0.1") for each in range(FREE_FOR_NETWORK)]
    assert waits == [0.0] * FREE_FOR_NETWORK
    assert wait_of(throttle, "one more", "10.0.0.1") >= 1
    assert wait_of(throttle, "one more", "10.0.0.2") == 0.0


def test_a_household_is_one_network_whatever_address_it_takes(dashboard: Dashboard) -> None:
    throttle = dashboard.parts.throttle
    for each in range(FREE_FOR_NETWORK):
        wait_of(throttle, f"name {each}", f"2001:db8:1:2:{each:x}::1")
    assert wait_of(throttle, "another", "2001:db8:1:2:ffff::1") >= 1
    assert wait_of(throttle, "another", "2001:db8:1:3::1") == 0.0


def test_tries_at_the_same_moment_do_not_slip_through(dashboard: Dashboard) -> None:
    throttle = dashboard.parts.throttle
    with ThreadPoolExecutor(8) as threads:
        waits = list(threads.map(lambda each: wait_of(throttle, "maria", f"10.0.0.{each}"), range(24)))
    assert waits.count(0.0) == FREE_FOR_ACCOUNT


def test_a_right_password_clears_the_account_and_tells_how_many_failed(dashboard: Dashboard) -> None:
    throttle = dashboard.parts.throttle
    for _ in range(FREE_FOR_ACCOUNT - 1):
        assert wait_of(throttle, " Maria", "10.0.0.1") == 0.0
    throttle.take("maria", "10.0.0.1")
    assert throttle.succeeded("MARIA", "10.0.0.1") == FREE_FOR_ACCOUNT - 1
    assert wait_of(throttle, "maria", "10.0.0.1") == 0.0


def test_strangers_who_keep_an_account_waiting_do_not_shut_its_user_out(dashboard: Dashboard) -> None:
    throttle = dashboard.parts.throttle
    throttle.take("maria", "10.0.0.1")
    throttle.succeeded("maria", "10.0.0.1")
    for place in range(FREE_FOR_ACCOUNT):
        throttle.take("maria", f"192.0.2.{place}")
    assert wait_of(throttle, "maria", "192.0.2.99") >= 1
    waits = [wait_of(throttle, "maria", "10.0.0.1") for _ in range(FREE_FOR_ACCOUNT + 1)]
    assert waits[:FREE_FOR_ACCOUNT] == [0.0] * FREE_FOR_ACCOUNT
    assert waits[-1] >= 1  # there, too, guessing is slowed down


def test_whatever_is_kept_of_failures_goes_away_by_itself(dashboard: Dashboard) -> None:
    throttle = dashboard.parts.throttle
    for _ in range(FREE_FOR_ACCOUNT + 1):
        wait_of(throttle, "maria", "10.0.0.1")
    throttle.worth_noting("maria", "10.0.0.1")
    keys = list(dashboard.store.scan_iter("*"))
    assert keys
    assert all(0 < dashboard.store.ttl(key) <= throttling.REMEMBERED_SECONDS for key in keys)
    assert b"maria" not in b" ".join(keys)


def test_failures_that_were_not_noted_are_counted_in_the_next_note(dashboard: Dashboard) -> None:
    throttle = dashboard.parts.throttle
    assert throttle.worth_noting("maria", "10.0.0.1") == 1
    assert [throttle.worth_noting("maria", "10.0.0.1") for _ in range(4)] == [None] * 4
    for key in dashboard.store.scan_iter("vocero:sign_in:noted:*"):
        dashboard.store.delete(key)
    assert throttle.worth_noting("maria", "10.0.0.1") == 5


def test_names_and_addresses_without_end_get_a_bounded_number_of_notes(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throttling, "MOST_NOTES", 3)
    throttle = dashboard.parts.throttle
    noted = [throttle.worth_noting(f"name {each}", f"10.0.1.{each}") for each in range(8)]
    assert noted == [1, 1, 1, None, None, None, None, None]
