"""What was said until now, for whoever goes on with a conversation that another worker began.

The key decision: database and ledger are read both and laid on each other, because either may lack what the other has:
the ledger what was written while Redis was away, the database what is not drained yet. A later version of a record
takes the place of the one before, by the rules that the database has for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from service.conversation.ledger_entries import decode
from service.storage.conversation_records import ConversationRecord, ConversationSummary, Leg, Utterance
from service.storage.record_writer import Record

Kept = TypeVar("Kept", ConversationSummary, Leg)


@dataclass(frozen=True)
class History:
    """A conversation until now: legs by number, utterances by sequence with their corrections, and the ledger's newest
    sequence and fence (0: it has nothing). `is_complete` is false if only one of the two could be read.
    """

    summary: ConversationSummary | None
    legs: tuple[Leg, ...]
    utterances: tuple[Utterance, ...]
    last_sequence: int = 0
    fence: int = 0
    is_complete: bool = True

    def records(self) -> list[Record]:
        """All of it, in an order in which it can be noted again."""
        return [*([self.summary] if self.summary is not None else []), *self.legs, *self.utterances]

    @property
    def is_empty(self) -> bool:
        """Nothing is known of it."""
        return not self.records()


def make_history(
    kept: ConversationRecord | None,
    entries: Iterable[tuple[int, int, str, bytes]],
    *,
    is_complete: bool = True,
) -> History:
    """Lay what the ledger has (sequence, fence, kind, record) over what the database has."""
    summary = None if kept is None else kept.summary
    legs = {} if kept is None else {leg.number: leg for leg in kept.legs}
    utterances = {} if kept is None else {one.sequence: one for one in kept.utterances}
    found = list(entries)
    for _, _, kind, raw in found:
        try:
            record = decode(kind, raw)
        except ValueError:  # whoever drains it counts it
            continue
        if isinstance(record, ConversationSummary):
            summary = _filled_in(summary, record)
        elif isinstance(record, Leg):
            legs[record.number] = _filled_in(legs.get(record.number), record)
        elif isinstance(record, Utterance):
            utterances[record.sequence] = _newer(utterances.get(record.sequence), record)
    return History(
        summary,
        tuple(legs[number] for number in sorted(legs)),
        tuple(utterances[number] for number in sorted(utterances)),
        last_sequence=found[-1][0] if found else 0,
        fence=found[-1][1] if found else 0,
        is_complete=is_complete,
    )


def _filled_in(before: Kept | None, record: Kept) -> Kept:
    """What is None changes nothing."""
    if before is None:
        return record
    news = {each.name: value for each in fields(record) if (value := getattr(record, each.name)) is not None}
    return replace(before, **news)


def _newer(before: Utterance | None, record: Utterance) -> Utterance:
    if before is None or (record.corrected_at is not None and _is_no_older(record, before)):
        return record if before is None else replace(record, interrupted=record.interrupted or before.interrupted)
    if record.interrupted and not before.interrupted:
        return replace(before, interrupted=True, text=record.text if before.corrected_at is None else before.text)
    return before


def _is_no_older(record: Utterance, before: Utterance) -> bool:
    return before.corrected_at is None or (
        record.corrected_at is not None and record.corrected_at >= before.corrected_at
    )
