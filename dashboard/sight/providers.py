"""For each capability: who is asked in which order, how each of them stands, and what an admin has ordered.

The key decision: a provider's standing is told in HAProxy's terms, which people on call know: ready, drain,
maintenance, down. Where workers differ it is the worst that one of them thinks, as everywhere (`breakers.py`), and how
many think so is said beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from dashboard.sight.breakers import BreakerSight, see_breakers
from dashboard.sight.watch import Snapshot
from service.fallback.overrides import asked_by
from service.pool_reports import WorkerReport
from service.storage import Capability, Override, OverrideMode


class Standing(StrEnum):
    """What a provider gets."""

    READY = "ready"  # new conversations
    RAMPING = "ramping"  # a growing share of them
    PROBING = "probing"  # probes, to see whether it is well again
    DOWN = "down"  # nothing, unless nobody else can
    DRAIN = "drain"  # nothing new, by order; those that it leads move at their next turn
    MAINTENANCE = "maintenance"  # nothing, by order


# A breaker's word (BreakerState) and what it means for the provider.
_BY_BREAKER = {
    "open": Standing.DOWN,
    "half_open": Standing.PROBING,
    "ramp": Standing.RAMPING,
    "closed": Standing.READY,
}


@dataclass(frozen=True)
class ProviderView:
    """A provider in the chain of one capability, `place` counts from 1; `breaker` is None for one that has none.

    `workers` have it in their chain, `conversations` go on at it now.
    """

    provider: str
    place: int
    standing: Standing
    breaker: BreakerSight | None
    workers: int
    conversations: int

    @property
    def alike(self) -> int:
        """How many of the breaker's workers share the opinion that is shown."""
        return 0 if self.breaker is None else self.breaker.states.get(self.breaker.state, 0)


@dataclass(frozen=True)
class Obedience:
    """How many of the workers obey the newest override; `behind` names those that do not, at most ten of them.

    `silent` workers, of an earlier version, do not tell what they obey, and are not among the `workers`.
    """

    workers: int
    obeying: int
    behind: tuple[str, ...]
    silent: int = 0

    @property
    def is_whole(self) -> bool:
        return self.obeying == self.workers


@dataclass(frozen=True)
class CapabilityView:
    """One capability. `mode` is the one that holds now; `override` the newest that was set, and it may have expired.

    `providers` stand in the order in which they are asked, none if no worker has told. `other_chains`: workers whose
    configuration has another order. `obedience` is None if nothing was ever ordered.
    """

    capability: Capability
    mode: OverrideMode
    override: Override
    providers: tuple[ProviderView, ...]
    other_chains: int
    obedience: Obedience | None

    @property
    def chain(self) -> tuple[str, ...]:
        return tuple(each.provider for each in self.providers)

    @property
    def is_expired(self) -> bool:
        return self.mode is not self.override.mode


def newest_overrides(snapshot: Snapshot, held: Iterable[Override]) -> dict[Capability, Override]:
    """The override of each capability: as the database told last, or newer, as `held` (what was set from here)."""
    told = {each.capability: each for each in snapshot.overrides}
    found = {}
    for mine in held:
        theirs = told.get(mine.capability)
        set_at = 0.0 if mine.set_at is None else mine.set_at.timestamp()
        is_news = theirs is None or (mine.version > theirs.version and set_at > snapshot.overrides_at)
        found[mine.capability] = mine if theirs is None or is_news else theirs
    return found


def see_capability(snapshot: Snapshot, override: Override, *, now: float) -> CapabilityView:
    """How one capability stands at `now`, by what the workers have told."""
    capability = override.capability
    mode = override.mode_at(datetime.fromtimestamp(now, UTC))
    chains = Counter(chain for report in snapshot.workers if (chain := report.chains.get(capability.value)))
    chain = chains.most_common(1)[0][0] if chains else ()
    asked = asked_by(chain, mode)
    breakers = {each.provider: each for each in see_breakers(snapshot.workers) if each.capability == capability.value}
    return CapabilityView(
        capability=capability,
        mode=mode,
        override=override,
        providers=tuple(
            _see_provider(
                snapshot.workers, name, capability, place=place, breaker=breakers.get(name), is_asked=name in asked
            )
            for place, name in enumerate(chain, 1)
        ),
        other_chains=chains.total() - chains[chain] if chains else 0,
        obedience=_obedience(snapshot.workers, override, mode),
    )


def _see_provider(
    workers: Iterable[WorkerReport],
    provider: str,
    capability: Capability,
    *,
    place: int,
    breaker: BreakerSight | None,
    is_asked: bool,
) -> ProviderView:
    mine = [report for report in workers if provider in report.chains.get(capability.value, ())]
    talks = capability is Capability.CONVERSATION
    conversations = sum(report.speaking.get(provider, 0) for report in mine) if talks else 0
    if is_asked:
        # What a later version has made up is nothing good.
        standing = Standing.READY if breaker is None else _BY_BREAKER.get(breaker.state, Standing.DOWN)
    else:
        standing = Standing.DRAIN if conversations else Standing.MAINTENANCE
    return ProviderView(provider, place, standing, breaker, workers=len(mine), conversations=conversations)


def _obedience(workers: Sequence[WorkerReport], override: Override, mode: OverrideMode) -> Obedience | None:
    """A worker that obeys nothing (0) does what `auto` says, and what an expired override says."""
    if not override.version:
        return None
    good = {override.version, 0} if mode is OverrideMode.AUTO else {override.version}
    told = [report for report in workers if override.capability.value in report.modes]
    behind = [report.name for report in told if report.modes[override.capability.value] not in good]
    return Obedience(len(told), len(told) - len(behind), tuple(behind[:10]), silent=len(workers) - len(told))
