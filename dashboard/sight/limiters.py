"""The account's slots at ElevenLabs: how many there are, who holds and who waits, and what the workers say of them.

The key decision: what is the account's is taken from the worker that heard last, and never summed; what each worker
counts by itself is. A worker that lives on its static share because Redis is gone for it knows nothing of the account.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from service.pool_reports import WorkerReport

CLASSES = ("live_turn", "greeting", "other")
"""Who waits, by `Priority`: the first is served first."""

COUNTED = ("held_here", "grants", "refusals", "full", "timeouts", "lost")


@dataclass(frozen=True)
class LimiterShare:
    """What one worker counts by itself since its start; `held_here` is now."""

    worker: str
    held_here: int
    grants: int
    refusals: int
    full: int
    timeouts: int
    lost: int
    degraded: bool


@dataclass(frozen=True)
class LimiterSight:
    """One limiter of the account; see `LimiterStats` for the words. `headroom` is what could be granted at once."""

    name: str
    cap: int
    plan_cap: int
    reserved: int
    held: int
    headroom: int
    waiting: Mapping[str, int]
    account_current: int | None
    total: LimiterShare
    degraded_workers: int
    workers: tuple[LimiterShare, ...]

    @property
    def queue(self) -> int:
        """All who wait."""
        return sum(self.waiting.values())


def see_limiters(reports: Iterable[WorkerReport]) -> tuple[LimiterSight, ...]:
    """By name."""
    found: dict[str, list[tuple[WorkerReport, Mapping[str, Any]]]] = {}
    for report in reports:
        for limiter in report.limiters:
            found.setdefault(str(limiter.get("name", "?")), []).append((report, limiter))
    return tuple(_together(name, found[name]) for name in sorted(found))


def _together(name: str, told: list[tuple[WorkerReport, Mapping[str, Any]]]) -> LimiterSight:
    hearing = [each for each in told if not each[1].get("degraded")]
    account = max(hearing or told, key=lambda each: each[0].reported_at)[1]
    shares = tuple(_share(report.name, limiter) for report, limiter in told)
    # Where nobody hears of the account, the shares are all there is.
    cap = _number(account, "cap") if hearing else sum(_number(limiter, "cap") for _, limiter in told)
    held = _number(account, "held") if hearing else sum(share.held_here for share in shares)
    sums = {field: sum(getattr(share, field) for share in shares) for field in COUNTED}
    current = account.get("account_current")
    return LimiterSight(
        name=name,
        cap=cap,
        plan_cap=_number(account, "plan_cap") if hearing else cap,
        reserved=_number(account, "reserved"),
        held=held,
        headroom=max(0, cap - held),
        waiting=_waiting(account.get("waiting")),
        account_current=current if isinstance(current, int) else None,
        total=LimiterShare(worker="*", degraded=not hearing, **sums),
        degraded_workers=len(told) - len(hearing),
        workers=shares,
    )


def _share(worker: str, limiter: Mapping[str, Any]) -> LimiterShare:
    counted = {field: _number(limiter, field) for field in COUNTED}
    return LimiterShare(worker=worker, degraded=bool(limiter.get("degraded")), **counted)


def _waiting(told: object) -> dict[str, int]:
    found = told if isinstance(told, dict) else {}
    return {name: int(found.get(name, 0)) for name in CLASSES}


def _number(limiter: Mapping[str, Any], field: str) -> int:
    value = limiter.get(field, 0)
    return int(value) if isinstance(value, int | float) else 0
