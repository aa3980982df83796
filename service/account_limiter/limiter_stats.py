"""What a limiter says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.account_limiter.claims import Priority


@dataclass(frozen=True)
class LimiterStats:
    """One snapshot. The first block is the whole account's, as this process heard of it last (at most a third of the
    TTL ago); the second is this process's, counted since its start.
    """

    name: str
    cap: int
    """Slots that may be held now."""
    plan_cap: int
    """Slots that the plan and the configuration allow; `cap` is below it after refusals."""
    reserved: int
    """Slots of `cap` that only live turns get."""
    held: int
    waiting: Mapping[Priority, int]
    account_current: int | None
    """What ElevenLabs itself counts, by the last header; others may use the account too."""

    held_here: int
    grants: int
    refusals: int
    """Times that ElevenLabs refused for concurrency although we had a lease."""
    full: int
    """Callers turned away because the queue was full."""
    timeouts: int
    lost: int
    """Leases that ran out under their holders."""
    degraded: bool
    """Redis is gone: this process lives on its static share."""
