"""What must hold in every snapshot of a pool, as `service.pool_stats` promises it."""

from __future__ import annotations

from service.pool_stats import PoolStats


def assert_reconciled(stats: PoolStats) -> None:
    """Every number fits every other one."""
    s = stats
    assert s.size == s.lent + s.idle + s.opening + s.closing, s
    assert s.opened == s.lent + s.idle + s.discarded + s.lost + s.expired + s.retired + s.abandoned, s
    outcomes = s.served + s.timeouts + s.exhausted + s.unopened + s.refused + s.cancelled
    assert s.requests == outcomes + s.pending, s
    in_use = s.served - (s.returned + s.discarded + s.abandoned)
    assert 0 <= in_use <= s.lent, s
    assert s.pending or in_use == s.lent, s
    assert s.reused <= s.served, s
    assert s.waiting <= s.pending, s
    assert not (s.waiting and s.idle), s
    assert min(s.lent, s.idle, s.opening, s.closing, s.waiting, s.pending) >= 0, s
