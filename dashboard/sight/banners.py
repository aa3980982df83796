"""What everybody must know before they look at numbers: orders in force, a maintenance, a store that is gone.

The key decision: a banner says what is so and not what to think of it, and there is none when all is well. They stand
in the order in which they matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dashboard.sight.limiters import LimiterSight
from dashboard.sight.nodes import FleetSight, Mark
from dashboard.sight.watch import Snapshot
from service.storage import Override, OverrideMode


class BannerKind(StrEnum):
    """What a banner is about."""

    REDIS = "redis"  # does not answer us
    DATABASE = "database"  # does not answer us
    NO_WORKERS = "no_workers"
    MAINTENANCE = "maintenance"
    OVERRIDE = "override"
    WORKERS_WITHOUT = "workers_without"  # a dependency that workers lack
    LIMITER_DEGRADED = "limiter_degraded"
    DRAINING = "draining"
    VERSIONS = "versions"
    SANDBOX = "sandbox"


@dataclass(frozen=True)
class Banner:
    """One banner. `subject` is what it is about by name, `count` of `whole` workers are concerned.

    `text` is a reason that somebody gave; `by` who, `since` and `until` when (Unix times).
    """

    kind: BannerKind
    level: str  # bad | warn | info
    subject: str = ""
    text: str = ""
    by: str = ""
    since: float | None = None
    until: float | None = None
    count: int = 0
    whole: int = 0


def see_banners(
    snapshot: Snapshot, fleet: FleetSight, limiters: Iterable[LimiterSight], overrides: Iterable[Override]
) -> tuple[Banner, ...]:
    """Those that are due; `overrides` are in force now."""
    return (
        *_stores(snapshot),
        *_service(snapshot, fleet),
        *(_override(each) for each in overrides if each.mode is not OverrideMode.AUTO),
        *_lacking(fleet),
        *_degraded(limiters),
        *_workers(snapshot, fleet),
    )


def _stores(snapshot: Snapshot) -> Iterable[Banner]:
    if snapshot.redis_error is not None:
        yield Banner(BannerKind.REDIS, "bad", subject=snapshot.redis_error, since=snapshot.at or None)
    if snapshot.database_error is not None:
        yield Banner(BannerKind.DATABASE, "bad", subject=snapshot.database_error, since=snapshot.overrides_at or None)


def _service(snapshot: Snapshot, fleet: FleetSight) -> Iterable[Banner]:
    if not fleet.workers and snapshot.redis_error is None:
        yield Banner(BannerKind.NO_WORKERS, "bad")
    if (maintenance := snapshot.maintenance) is not None:
        yield Banner(
            BannerKind.MAINTENANCE, "warn", text=maintenance.reason, by=maintenance.by, since=maintenance.since or None,
            count=fleet.marked[Mark.MAINTENANCE.value], whole=fleet.workers,
        )  # fmt: skip


def _override(override: Override) -> Banner:
    return Banner(
        BannerKind.OVERRIDE,
        "bad" if override.mode is OverrideMode.DISABLED else "warn",
        subject=f"{override.capability.value}.{override.mode.value}",
        text=override.reason,
        by=override.author,
        since=None if override.set_at is None else override.set_at.timestamp(),
        until=None if override.expires_at is None else override.expires_at.timestamp(),
    )


def _lacking(fleet: FleetSight) -> Iterable[Banner]:
    for name, count in fleet.wrong.items():
        reasons = {worker.wrong[name] for node in fleet.nodes for worker in node.workers if name in worker.wrong}
        yield Banner(
            BannerKind.WORKERS_WITHOUT, "bad", subject=name, text="; ".join(sorted(reasons)[:3]),
            count=count, whole=fleet.workers,
        )  # fmt: skip


def _degraded(limiters: Iterable[LimiterSight]) -> Iterable[Banner]:
    for each in limiters:
        if each.degraded_workers:
            yield Banner(
                BannerKind.LIMITER_DEGRADED, "warn", subject=each.name,
                count=each.degraded_workers, whole=len(each.workers),
            )  # fmt: skip


def _workers(snapshot: Snapshot, fleet: FleetSight) -> Iterable[Banner]:
    if (leaving := fleet.marked[Mark.DRAINING.value]) > 0:
        level = "bad" if leaving == fleet.workers else "info"
        yield Banner(BannerKind.DRAINING, level, count=leaving, whole=fleet.workers)
    if len(fleet.versions) > 1:
        text = ", ".join(f"{version} ({count})" for version, count in fleet.versions.items())
        yield Banner(BannerKind.VERSIONS, "info", text=text, count=len(fleet.versions), whole=fleet.workers)
    if (in_sandbox := sum(worker.sandbox for worker in snapshot.workers)) > 0:
        yield Banner(BannerKind.SANDBOX, "info", count=in_sandbox, whole=fleet.workers)
