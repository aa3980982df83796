"""Redis is gone, comes back, or has forgotten everything."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from scripts.launcher.waiting import wait_until
from service.account_limiter import Priority
from service.errors import LimiterTimeoutError
from tests.integration.account_limiter.conftest import MakeLimiter, OwnValkey, client

LIVE, _, OTHER = Priority
QUICK = {"ttl_seconds": 6.0, "outage_seconds": 2.0}
SETTINGS = {"cap": 5, "workers": 2, "outage_seconds": 0.2, "ttl_seconds": 3.0}  # a static share of 2


@pytest.fixture
def make_limiter(make_limiter: MakeLimiter) -> MakeLimiter:
    """What these tests wait for comes with a lease's time."""
    return lambda **settings: make_limiter(**{**QUICK, **settings})


def test_without_redis_a_process_lives_on_its_static_share(own_valkey: OwnValkey, make_limiter: MakeLimiter) -> None:
    own_valkey.kill()
    limiter = make_limiter(url=own_valkey.url, **SETTINGS)
    held = [limiter.acquire(LIVE, timeout=10) for _ in range(2)]
    assert limiter.stats().degraded
    with pytest.raises(LimiterTimeoutError):
        limiter.acquire(LIVE, timeout=0.3)
    held[0].release()
    limiter.acquire(LIVE, timeout=10)
    assert [lease.fence for lease in held] == [0, 0]


def test_a_static_share_is_never_nothing(own_valkey: OwnValkey, make_limiter: MakeLimiter) -> None:
    own_valkey.kill()
    limiter = make_limiter(url=own_valkey.url, **{**SETTINGS, "cap": 1, "workers": 8})
    limiter.acquire(OTHER, timeout=10)


def test_the_static_share_counts_what_is_held_already(own_valkey: OwnValkey, make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(url=own_valkey.url, **{**SETTINGS, "workers": 1, "cap": 2})
    held = [limiter.acquire(LIVE, timeout=10) for _ in range(2)]
    own_valkey.kill()
    with pytest.raises(LimiterTimeoutError):
        limiter.acquire(LIVE, timeout=1.5)
    wait_until(lambda: limiter.stats().degraded)
    assert not any(lease.is_lost for lease in held)
    held[0].release()
    limiter.acquire(LIVE, timeout=10)


def test_a_refusal_without_redis_halves_the_static_share(own_valkey: OwnValkey, make_limiter: MakeLimiter) -> None:
    limiter = make_limiter(url=own_valkey.url, **{**SETTINGS, "workers": 1, "cap": 4})
    own_valkey.kill()
    held = [limiter.acquire(LIVE, timeout=10) for _ in range(4)]
    limiter.note_refusal()
    for lease in held[:2]:
        lease.release()
    with pytest.raises(LimiterTimeoutError):
        limiter.acquire(LIVE, timeout=0.3)
    held[2].release()
    limiter.acquire(LIVE, timeout=10)


def test_leases_outlive_an_outage_longer_than_the_ttl_and_are_entered_afterwards(
    own_valkey: OwnValkey, make_limiter: MakeLimiter
) -> None:
    here = make_limiter(url=own_valkey.url, **{**SETTINGS, "ttl_seconds": 1.0, "workers": 1})
    early = here.acquire(LIVE, timeout=10)
    fence = early.fence
    own_valkey.kill()
    static = here.acquire(LIVE, timeout=10)
    with pytest.raises(LimiterTimeoutError):
        [here.acquire(LIVE, timeout=2.5) for _ in range(4)]  # 5 in all, and the sixth has to wait
    assert not early.is_lost
    own_valkey.start()
    wait_until(lambda: static.fence > 0)
    assert (early.fence, early.is_lost, static.is_lost) == (fence, False, False)
    assert here.stats().held == 5


def test_what_static_shares_gave_too_much_is_made_good_before_anything_new(
    own_valkey: OwnValkey, make_limiter: MakeLimiter
) -> None:
    here, there = (make_limiter(url=own_valkey.url, **{**SETTINGS, "cap": 2}) for _ in range(2))
    held = [here.acquire(LIVE, timeout=10) for _ in range(2)]
    own_valkey.kill()
    extra = there.acquire(LIVE, timeout=10)  # its share is 1: three are held now, of two
    own_valkey.start()
    wait_until(lambda: here.stats().held == there.stats().held == 3)
    held[0].release()
    with pytest.raises(LimiterTimeoutError):
        there.acquire(LIVE, timeout=0.5)
    held[1].release()
    with there.acquire(LIVE, timeout=10):
        assert extra.fence > 0


def test_a_flushed_redis_hears_of_all_leases_before_it_grants_another_one(
    own_valkey: OwnValkey, make_limiter: MakeLimiter
) -> None:
    here, there = (make_limiter(url=own_valkey.url, cap=2, workers=2) for _ in range(2))
    held = [here.acquire(LIVE, timeout=10), there.acquire(LIVE, timeout=10)]
    client(own_valkey.url).flushall()
    with pytest.raises(LimiterTimeoutError):
        here.acquire(LIVE, timeout=4.0)
    assert here.stats().held == 2
    assert not any(lease.is_lost for lease in held)
    held[0].release()
    assert there.acquire(LIVE, timeout=10).fence > held[1].fence


def test_what_was_learned_is_told_again_to_a_redis_that_forgot(
    own_valkey: OwnValkey, make_limiter: MakeLimiter
) -> None:
    limiter = make_limiter(url=own_valkey.url, cap=8)
    limiter.learn(current=None, maximum=3)
    wait_until(lambda: limiter.stats().cap == 3)
    client(own_valkey.url).flushall()
    limiter.acquire(LIVE, timeout=10)
    wait_until(lambda: limiter.stats().cap == 3)


def test_waiters_keep_their_turn_across_a_flush(own_valkey: OwnValkey, make_limiter: MakeLimiter) -> None:
    here, there = (make_limiter(url=own_valkey.url, cap=1, workers=2) for _ in range(2))
    lease = here.acquire(LIVE, timeout=10)
    order: list[str] = []

    def take(name: str) -> None:
        limiter = here if name in {"first", "third"} else there
        with limiter.acquire(LIVE, timeout=30):
            order.append(name)

    with ThreadPoolExecutor() as threads:
        for number, name in enumerate(("first", "second", "third"), 1):
            threads.submit(take, name)
            wait_until(
                lambda number=number: max(sum(each.stats().waiting.values()) for each in (here, there)) == number
            )
        client(own_valkey.url).flushall()
        wait_until(lambda: here.stats().held == there.stats().held == 1 and sum(here.stats().waiting.values()) == 3)
        lease.release()
    assert order == ["first", "second", "third"]


def test_another_limiter_of_the_same_server_does_not_hide_that_it_began_anew(
    own_valkey: OwnValkey, make_limiter: MakeLimiter
) -> None:
    """The server forgets its scripts with a restart, and each limiter has a script of its own to notice it by."""
    speech = make_limiter(url=own_valkey.url, name="speech", workers=2)
    make_limiter(url=own_valkey.url, name="speech", workers=2)
    speech.acquire(LIVE, timeout=10).release()
    with client(own_valkey.url) as store:
        store.script_flush()
        make_limiter(url=own_valkey.url, name="agents").acquire(LIVE, timeout=10)
        before = _epoch(store)
        speech.acquire(LIVE, timeout=10)
        assert _epoch(store) > before


def _epoch(store: redis.Redis) -> int:
    return int(store.hget("vocero:limiter:{speech}:state", "epoch") or 0)
