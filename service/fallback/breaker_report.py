"""What a worker tells of one breaker: its state, why, and when it will look again, for people and in words.

The key decision: reasons are the words of closed or shortened sets that also stand in the log (a cause, a code, whose
fault it was), never an error's message: that may quote what somebody said.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from service.elevenlabs.fault_actions import Fault
from service.fallback.breaker_terms import BreakerStatus

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_CODE = 60


@dataclass(frozen=True)
class BreakerReport:
    """A breaker of a worker's. Times are seconds since 1970 by that worker's clock; shares of 1, None without calls.

    `last_fault` is the last one that spoke against the provider, `last_probe` what this worker's own last probe found;
    None: none since the worker started.
    """

    provider: str
    capability: str
    state: str
    opened_at: float | None = None
    probe_at: float | None = None
    last_fault: str | None = None
    last_fault_at: float | None = None
    last_probe: str | None = None
    last_probe_at: float | None = None
    calls: int = 0
    failure_share: float | None = None
    slow_share: float | None = None

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` gave, maybe in another version of ours: what is unknown here is left out.

        Raises:
            TypeError: a name or the state lacks.
        """
        known = {each.name for each in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in found.items() if name in known})


class BreakerNotes:
    """What happened last at one breaker. Whoever notes replaces what was noted; nobody waits."""

    def __init__(self) -> None:
        self._fault: tuple[str, float] | None = None
        self._probe: tuple[str, float] | None = None

    def note_fault(self, fault: Fault) -> None:
        """A call failed, and that spoke against the provider."""
        self._fault = words_of(fault), time.time()

    def note_probe(self, words: str) -> None:
        """A probe of this worker's has ended so."""
        self._probe = words, time.time()

    def report(self, provider: str, capability: str, status: BreakerStatus) -> BreakerReport:
        """The breaker as it is now."""
        now = time.time()
        fault, fault_at = self._fault or (None, None)
        probe, probe_at = self._probe or (None, None)
        return BreakerReport(
            provider=provider,
            capability=capability,
            state=status.state.value,
            opened_at=None if status.open_for_seconds is None else now - status.open_for_seconds,
            probe_at=None if status.probe_in_seconds is None else now + status.probe_in_seconds,
            last_fault=fault,
            last_fault_at=fault_at,
            last_probe=probe,
            last_probe_at=probe_at,
            calls=status.calls,
            failure_share=status.failure_rate if status.calls else None,
            slow_share=status.slow_rate if status.calls else None,
        )


def words_of(fault: Fault) -> str:
    """A fault in words: its cause, its code if that says more, and whose fault it is."""
    code = _NOT_PLAIN.sub("_", fault.code)[:_LONGEST_CODE]
    what = fault.cause.value if code == fault.cause.value else f"{fault.cause.value}: {code}"
    return f"{what} ({fault.domain.value})"
