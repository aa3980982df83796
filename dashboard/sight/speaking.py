"""Who speaks now: the primary, a backup, both or nobody, for each capability.

The key decision: it is told by two things, where the conversations are that go on, and where one would go that began
now. Either alone is wrong for minutes at each switch: people stay where they are until their turn ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.fallback.overrides import asked_by
from service.pool_reports import WorkerReport
from service.storage import Capability, OverrideMode

CLOSED, RAMP = "closed", "ramp"


class Verdict(StrEnum):
    """Who speaks."""

    PRIMARY = "primary"
    FALLBACK = "fallback"
    MIXED = "mixed"
    NOBODY = "nobody"
    UNKNOWN = "unknown"  # no worker tells


@dataclass(frozen=True)
class Voice:
    """Who speaks for one capability. `newcomers` are the providers that whoever comes now gets.

    `speaking` are conversations by the provider that they are with; requests for speech are too short to be counted.
    """

    capability: Capability
    verdict: Verdict
    mode: OverrideMode
    primary: str | None
    newcomers: tuple[str, ...]
    speaking: Mapping[str, int]


def see_voices(reports: Iterable[WorkerReport], modes: Mapping[Capability, OverrideMode]) -> tuple[Voice, ...]:
    """The voices by capability; `modes` are in force now."""
    workers = tuple(reports)
    return tuple(_voice(workers, capability, modes.get(capability, OverrideMode.AUTO)) for capability in Capability)


def conversations_by_provider(reports: Iterable[WorkerReport]) -> dict[str, int]:
    """How many conversations go on with whom, by name."""
    found: Counter[str] = Counter()
    for report in reports:
        found.update(report.speaking)
    return {provider: count for provider, count in sorted(found.items()) if count > 0}


def _voice(workers: tuple[WorkerReport, ...], capability: Capability, mode: OverrideMode) -> Voice:
    chains = [chain for worker in workers if (chain := worker.chains.get(capability.value))]
    primaries = {chain[0] for chain in chains}
    newcomers = {name for worker in workers for name in _newcomers(worker, capability, mode)}
    speaking = conversations_by_provider(workers) if capability is Capability.CONVERSATION else {}
    return Voice(
        capability=capability,
        verdict=_verdict(newcomers | set(speaking), primaries, is_known=bool(chains)),
        mode=mode,
        primary=min(primaries, default=None),
        newcomers=tuple(sorted(newcomers)),
        speaking=speaking,
    )


def _verdict(providers: set[str], primaries: set[str], *, is_known: bool) -> Verdict:
    if not is_known and not providers:
        return Verdict.UNKNOWN
    if not providers:
        return Verdict.NOBODY
    if providers <= primaries:
        return Verdict.PRIMARY
    return Verdict.MIXED if providers & primaries else Verdict.FALLBACK


def _newcomers(worker: WorkerReport, capability: Capability, mode: OverrideMode) -> tuple[str, ...]:
    """Whom this worker asks first now; two while the better one comes back step by step."""
    chain = worker.chains.get(capability.value, ())
    if worker.maintenance:
        return ()
    if mode is not OverrideMode.AUTO:
        return asked_by(chain, mode)[:1]
    states = {each.provider: each.state for each in worker.breakers if each.capability == capability.value}
    first: list[str] = []
    for provider in chain:
        state = states.get(provider, CLOSED)
        if state in {CLOSED, RAMP}:
            first.append(provider)
        if state == CLOSED:
            break
    return tuple(first) or chain[:1]  # when all are left alone, they are asked in their order
