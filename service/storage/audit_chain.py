"""The chain that proves the audit complete: each entry's hash covers the entry and the hash before it.

The key decision: what is hashed is one canonical text (a JSON array of all fields in a fixed order, times in UTC with
microseconds), so that both databases, a dump and an auditor's own program come to the same hash. The chain cannot show
that its newest entries are gone: keep `last_sequence` and `last_hash` of a report elsewhere and compare.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum

from service.storage.admin_records import AuditEntry

GENESIS = "0" * 64  # what the first entry has in the place of a hash before it
PRUNED = "audit.pruned"  # the action that records a pruning: its subject is the last sequence that is gone


class ChainProblem(StrEnum):
    """How a chain is broken."""

    CHANGED = "changed"
    MISSING = "missing"
    BEFORE_REPLACED = "before_replaced"
    REPLACED = "replaced"
    FALSE_START = "false_start"
    PRUNED_OTHERWISE = "pruned_otherwise"
    UNRECORDED = "unrecorded"


_SENTENCES: Mapping[ChainProblem, str] = {
    ChainProblem.CHANGED: "the entry was changed: its hash is not that of its content",
    ChainProblem.MISSING: "entries are missing: {first} to {last}",
    ChainProblem.BEFORE_REPLACED: "the entry before it was replaced: its hash is another than the one recorded here",
    ChainProblem.REPLACED: "the entry was replaced: a pruning records another hash for it",
    ChainProblem.FALSE_START: "the first entry claims to have one before it",
    ChainProblem.PRUNED_OTHERWISE: "the entry before it was pruned with another hash than the one recorded here",
    ChainProblem.UNRECORDED: "entries are missing, and no entry records that they were pruned: {first} to {last}",
}


@dataclass(frozen=True)
class ChainReport:
    """What a verification found. `broken_at` is the first sequence that is wrong; `problem`, of this kind, says how."""

    entries: int
    first_sequence: int | None
    last_sequence: int | None
    last_hash: str | None
    broken_at: int | None = None
    problem: str | None = None
    problem_kind: ChainProblem | None = None

    @property
    def missing(self) -> tuple[int, int]:
        """The first and the last sequence that lack before `broken_at`, if some do."""
        return (self.last_sequence or 0) + 1, (self.broken_at or 0) - 1

    @property
    def is_whole(self) -> bool:
        return self.broken_at is None


def entry_hash(entry: AuditEntry) -> str:
    """The hash that `entry` must have, of all its other fields."""
    values = [_canonical(getattr(entry, field.name)) for field in fields(AuditEntry) if field.name != "hash"]
    return hashlib.sha256(json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


def verify(entries: Iterable[AuditEntry], prunings: Iterable[AuditEntry]) -> ChainReport:
    """Check `entries`, which are all there are, by sequence. `prunings` are those among them that record a pruning."""
    recorded = dict(_recorded(entry) for entry in prunings if entry.subject.isdecimal())
    count, first, last = 0, None, None
    for entry in entries:
        problem = _problem(entry, last, recorded)
        if problem is not None:
            return _report(count, first, last, broken_at=entry.sequence, problem=problem)
        count, first, last = count + 1, first or entry, entry
    return _report(count, first, last)


def _recorded(pruning: AuditEntry) -> tuple[int, str | None]:
    """The last sequence that `pruning` says is gone, and the hash that it had; None if it does not say."""
    try:
        told = json.loads(pruning.after or "")
    except ValueError:
        told = None
    return int(pruning.subject), told.get("hash") if isinstance(told, dict) else None


def _problem(entry: AuditEntry, last: AuditEntry | None, recorded: dict[int, str | None]) -> ChainProblem | None:
    if entry.hash != entry_hash(entry):
        return ChainProblem.CHANGED
    if last is None:
        return _problem_of_start(entry, recorded)
    if entry.sequence != last.sequence + 1:
        return ChainProblem.MISSING
    if entry.previous_hash != last.hash:
        return ChainProblem.BEFORE_REPLACED
    if recorded.get(entry.sequence, entry.hash) != entry.hash:
        return ChainProblem.REPLACED
    return None


def _problem_of_start(entry: AuditEntry, recorded: dict[int, str | None]) -> ChainProblem | None:
    """What is wrong with `entry` as the first one that is there.

    A pruning that was broken off leaves entries which it records as gone. The record has the hash of the last of them,
    so the chain from here to there proves those as well.
    """
    if entry.sequence == 1:
        return None if entry.previous_hash == GENESIS else ChainProblem.FALSE_START
    if entry.sequence - 1 in recorded:
        known = recorded[entry.sequence - 1] == entry.previous_hash
        return None if known else ChainProblem.PRUNED_OTHERWISE
    if any(up_to >= entry.sequence for up_to in recorded):
        return None
    return ChainProblem.UNRECORDED


def _report(
    count: int,
    first: AuditEntry | None,
    last: AuditEntry | None,
    *,
    broken_at: int | None = None,
    problem: ChainProblem | None = None,
) -> ChainReport:
    found = ChainReport(
        entries=count,
        first_sequence=first.sequence if first else None,
        last_sequence=last.sequence if last else None,
        last_hash=last.hash if last else None,
        broken_at=broken_at,
        problem_kind=problem,
    )
    if problem is None:
        return found
    gone_from, gone_to = found.missing
    return replace(found, problem=_SENTENCES[problem].format(first=gone_from, last=gone_to))


def _canonical(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return value
