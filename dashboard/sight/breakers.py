"""Breakers of all workers, put together: one line for each capability and provider.

The key decision: the worst state is shown, with how many workers share it. Each worker judges by what happened to its
own calls, so for some moments they differ, and an average would hide the one that matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service.fallback.breaker_report import BreakerReport
from service.pool_reports import WorkerReport

WORST_FIRST = ("open", "half_open", "ramp", "closed")


@dataclass(frozen=True)
class BreakerSight:
    """One provider's breakers for one capability. Times are Unix times, shares are of 1; None: there is none.

    `states` counts the workers by state; `probe_at` is the next probe that any of them makes.
    """

    provider: str
    capability: str
    state: str
    states: Mapping[str, int]
    workers: int
    opened_at: float | None
    probe_at: float | None
    last_fault: str | None
    last_fault_at: float | None
    last_probe: str | None
    last_probe_at: float | None
    calls: int
    failure_share: float | None
    slow_share: float | None


def see_breakers(reports: Iterable[WorkerReport]) -> tuple[BreakerSight, ...]:
    """By capability, and within one in the order of the chain."""
    found: dict[tuple[str, str], list[BreakerReport]] = {}
    order: dict[str, tuple[str, ...]] = {}
    for report in reports:
        order = {**order, **report.chains}
        for breaker in report.breakers:
            found.setdefault((breaker.capability, breaker.provider), []).append(breaker)

    def place(key: tuple[str, str]) -> tuple[str, int, str]:
        capability, provider = key
        chain = order.get(capability, ())
        return capability, chain.index(provider) if provider in chain else len(chain), provider

    return tuple(_together(found[key]) for key in sorted(found, key=place))


def worst(states: Iterable[str]) -> str:
    """The state that people must know of; a state that a later version has made up counts as the worst."""
    return min(states, key=lambda state: WORST_FIRST.index(state) if state in WORST_FIRST else -1)


def _together(breakers: list[BreakerReport]) -> BreakerSight:
    states: dict[str, int] = {}
    for each in breakers:
        states[each.state] = states.get(each.state, 0) + 1
    faulty = max(breakers, key=lambda each: each.last_fault_at or 0.0)
    probed = max(breakers, key=lambda each: each.last_probe_at or 0.0)
    return BreakerSight(
        provider=breakers[0].provider,
        capability=breakers[0].capability,
        state=worst(states),
        states=states,
        workers=len(breakers),
        opened_at=min((each.opened_at for each in breakers if each.opened_at is not None), default=None),
        probe_at=min((each.probe_at for each in breakers if each.probe_at is not None), default=None),
        last_fault=faulty.last_fault,
        last_fault_at=faulty.last_fault_at,
        last_probe=probed.last_probe,
        last_probe_at=probed.last_probe_at,
        calls=sum(each.calls for each in breakers),
        failure_share=_mean((each.failure_share, each.calls) for each in breakers),
        slow_share=_mean((each.slow_share, each.calls) for each in breakers),
    )


def _mean(shares: Iterable[tuple[float | None, int]]) -> float | None:
    """The mean of shares, each with the calls that it was made of."""
    known = [(share, calls) for share, calls in shares if share is not None and calls > 0]
    calls = sum(each for _, each in known)
    return sum(share * each for share, each in known) / calls if calls else None
