"""The overview: all of the present on one page, out of one snapshot.

The key decision: it is computed from memory alone. Nothing that a page asks here waits for Redis or the database, so
the page answers at its usual pace while either of them is gone, and says how old what it shows is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from dashboard.sight.banners import Banner, see_banners
from dashboard.sight.history import History, see_history
from dashboard.sight.limiters import LimiterSight, see_limiters
from dashboard.sight.lookout import Reading
from dashboard.sight.nodes import FleetSight, see_fleet
from dashboard.sight.providers import CapabilityView, newest_overrides, see_capability
from dashboard.sight.secrets_fleet import SecretsSight, look_at_secrets
from dashboard.sight.speaking import Voice, see_voices
from dashboard.sight.watch import Snapshot
from service.minute_history import Minute
from service.storage import Override


@dataclass(frozen=True)
class Overview:
    """Everything that the page shows. `seen_at` is when Redis was read, None: never; the errors name classes.

    `history_error`: the last hour is as it was known at `history_at`.
    """

    seen_at: float | None
    redis_error: str | None
    database_error: str | None
    banners: tuple[Banner, ...]
    voices: tuple[Voice, ...]
    fleet: FleetSight
    limiters: tuple[LimiterSight, ...]
    capabilities: tuple[CapabilityView, ...]
    secrets: SecretsSight
    history: History
    history_at: float | None
    history_error: str | None


def see_overview(
    snapshot: Snapshot, minutes: Reading[tuple[Minute, ...]], held: Iterable[Override], *, now: float
) -> Overview:
    """The overview at `now`; `held` are the overrides that this process has set itself."""
    fleet = see_fleet(snapshot.workers)
    limiters = see_limiters(snapshot.workers)
    newest = newest_overrides(snapshot, held)
    moment = datetime.fromtimestamp(now, UTC)
    modes = {capability: override.mode_at(moment) for capability, override in newest.items()}
    in_force = [override for override in newest.values() if override.mode_at(moment) is override.mode]
    return Overview(
        seen_at=snapshot.at or None,
        redis_error=snapshot.redis_error,
        database_error=snapshot.database_error,
        banners=see_banners(snapshot, fleet, limiters, in_force),
        voices=see_voices(snapshot.workers, modes),
        fleet=fleet,
        limiters=limiters,
        capabilities=tuple(see_capability(snapshot, override, now=now) for override in newest.values()),
        secrets=look_at_secrets(snapshot.workers),
        history=see_history(minutes.value),
        history_at=minutes.at or None,
        history_error=minutes.error,
    )
