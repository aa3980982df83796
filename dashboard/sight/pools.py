"""Connection pools of all workers: in sum, and worker by worker."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from service.pool_reports import WorkerReport
from service.pool_stats import PoolStats

LARGEST = ("wait_seconds_recent_max", "use_seconds_recent_max")
"""What has a largest and no sum."""


@dataclass(frozen=True)
class PoolShare:
    """A pool in one worker, or in all. What follows from `stats` is None while there is nothing to judge by.

    `reused_share` of those served got a connection that had been lent before.
    """

    worker: str
    stats: PoolStats
    reused_share: float | None
    mean_wait_seconds: float | None
    mean_use_seconds: float | None
    failed_share: float | None


@dataclass(frozen=True)
class PoolSight:
    """A pool by name. `sizes` are the bounds (min_idle, max_size) that workers have: more if they differ."""

    name: str
    sizes: tuple[tuple[int, int], ...]
    total: PoolShare
    workers: tuple[PoolShare, ...]


def see_pools(reports: Iterable[WorkerReport]) -> tuple[PoolSight, ...]:
    """By name."""
    found: dict[str, list[tuple[str, PoolStats]]] = {}
    for report in reports:
        for stats in report.pools:
            found.setdefault(stats.name, []).append((report.name, stats))
    return tuple(_together(name, found[name]) for name in sorted(found))


def _together(name: str, told: list[tuple[str, PoolStats]]) -> PoolSight:
    return PoolSight(
        name=name,
        sizes=tuple(sorted({(stats.min_idle, stats.max_size) for _, stats in told})),
        total=_share("*", _sum(name, [stats for _, stats in told])),
        workers=tuple(_share(worker, stats) for worker, stats in told),
    )


def _sum(name: str, told: list[PoolStats]) -> PoolStats:
    numbers = {}
    for field in dataclasses.fields(PoolStats):
        if field.name != "name":
            values = [getattr(stats, field.name) for stats in told]
            numbers[field.name] = max(values) if field.name in LARGEST else sum(values)
    return PoolStats(name=name, **numbers)


def _share(worker: str, stats: PoolStats) -> PoolShare:
    return PoolShare(
        worker=worker,
        stats=stats,
        reused_share=_ratio(stats.reused, stats.served),
        mean_wait_seconds=_ratio(stats.wait_seconds, stats.requests - stats.pending),
        mean_use_seconds=_ratio(stats.use_seconds, stats.returned + stats.discarded),
        failed_share=_ratio(stats.failed, stats.opened + stats.failed),
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
