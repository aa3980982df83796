"""What is kept in memory until the database has it: bounds, what is sent again, what is given up."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from service.conversation.ledger_book import FORGOTTEN_AFTER_SECONDS, KEPT_OF_ONE, LedgerBook
from service.metrics import RecordLoss
from tests.ledgers.talks import began, ended, note_all, said


class Desk:
    """A book with a clock, and what it lost."""

    def __init__(self, **bounds: int) -> None:
        self.lost: Counter[RecordLoss] = Counter()
        self.now = 0.0
        self.book = LedgerBook(
            on_lost=lambda count, cause: self.lost.update({cause: count}), clock=lambda: self.now, **bounds
        )

    def note(self, record: object) -> None:
        self.book.add(record)  # type: ignore[arg-type]

    def sequences(self) -> list[int]:
        """What would be sent now."""
        return [entry.sequence for batch in self.book.unsent_batches() for entry in batch.entries]


def test_what_was_sent_is_kept_until_the_database_has_it() -> None:
    desk = Desk()
    note_all(desk, [began("c1"), said("c1", 1)])  # type: ignore[arg-type]
    assert desk.sequences() == [1, 2]
    desk.book.was_sent("c1", 2)
    assert (desk.sequences(), desk.book.pending, desk.book.unsent) == ([], 2, 0)
    assert desk.book.unconfirmed() == ["c1"]
    desk.book.confirm("c1", 2)
    assert (desk.book.pending, desk.book.unconfirmed()) == (0, [])


def test_what_redis_lost_is_sent_again_and_what_the_database_has_is_not() -> None:
    desk = Desk()
    note_all(desk, [began("c1"), *(said("c1", number) for number in range(1, 5))])  # type: ignore[arg-type]
    desk.book.was_sent("c1", 5)
    desk.book.confirm("c1", 2)
    desk.book.redis_has("c1", 0)
    [batch] = desk.book.unsent_batches()
    assert ([entry.sequence for entry in batch.entries], batch.floor) == ([3, 4, 5], 2)
    assert not desk.lost


def test_no_conversation_is_kept_waiting_by_another() -> None:
    desk = Desk()
    note_all(desk, [began("c1"), *(said("c1", number) for number in range(1, 300)), began("c2")])  # type: ignore[arg-type]
    assert [(batch.conversation_id, len(batch.entries)) for batch in desk.book.unsent_batches()] == [
        ("c1", 100),
        ("c2", 1),
    ]


def test_the_bound_of_characters_counts_too() -> None:
    desk = Desk(max_characters=3000)
    note_all(desk, [began("c1"), said("c1", 1, "x" * 2500), said("c1", 2, "x" * 2500)])  # type: ignore[arg-type]
    assert desk.book.pending == 2
    assert desk.lost == {RecordLoss.NO_MEMORY: 1}


def test_what_redis_has_makes_room_for_what_nobody_has() -> None:
    desk = Desk(max_entries=10)
    note_all(desk, [began("c1"), *(said("c1", number) for number in range(1, 10))])  # type: ignore[arg-type]
    desk.book.was_sent("c1", 10)
    note_all(desk, [said("c1", number) for number in range(10, 18)])  # type: ignore[arg-type]
    assert not desk.lost
    assert desk.sequences() == list(range(11, 19))
    note_all(desk, [said("c1", number) for number in range(18, 22)])  # type: ignore[arg-type]
    assert desk.lost == {RecordLoss.NO_MEMORY: 3}


def test_the_beginning_is_not_given_up() -> None:
    desk = Desk()
    note_all(desk, [began("c1"), *(said("c1", number) for number in range(1, 1001))])  # type: ignore[arg-type]
    while desk.sequences():
        desk.book.was_sent("c1", desk.sequences()[-1])
    assert desk.book.pending == KEPT_OF_ONE + 1
    desk.book.redis_has("c1", 0)
    assert desk.sequences()[0] == 1
    assert desk.lost == {RecordLoss.FORGOTTEN: 1000 - KEPT_OF_ONE}


def test_a_conversation_that_is_over_is_forgotten_after_a_while_and_not_before() -> None:
    desk = Desk()
    note_all(desk, [began("c1"), ended("c1"), began("c2")])  # type: ignore[arg-type]
    desk.book.confirm("c1", 2)
    desk.now = FORGOTTEN_AFTER_SECONDS - 1
    desk.book.tidy()
    assert desk.book.fence_of("c1") == 1
    desk.now += 2
    desk.book.tidy()
    assert (desk.book.fence_of("c1"), desk.book.fence_of("c2")) == (0, 1)


def test_after_a_refusal_nothing_is_kept() -> None:
    desk = Desk()
    note_all(desk, [began("c1"), said("c1", 1)])  # type: ignore[arg-type]
    desk.book.refuse("c1")
    assert (desk.book.pending, desk.sequences()) == (0, [])
    assert not desk.lost


@given(st.integers(0, 2**32))
def test_whatever_happens_in_whatever_order_the_count_is_right_and_nothing_unsent_is_lost(seed: int) -> None:
    """Random histories against what must hold after each step."""
    chance = random.Random(seed)
    desk = Desk()
    noted = {"c1": 0, "c2": 0}
    confirmed = {"c1": 0, "c2": 0}
    sent = {"c1": 0, "c2": 0}
    for _ in range(60):
        name = chance.choice(["c1", "c2"])
        what = chance.randrange(5)
        if what <= 1:
            desk.note(said(name, noted[name]) if noted[name] else began(name))
            noted[name] += 1
        elif what == 2:
            for batch in desk.book.unsent_batches():
                own = batch.conversation_id
                first = batch.entries[0].sequence
                assert first <= max(sent[own], batch.floor) + 1  # else Redis would say that there is a gap
                sent[own] = batch.entries[-1].sequence
                desk.book.was_sent(own, sent[own])
        elif what == 3:
            confirmed[name] = chance.randint(confirmed[name], max(confirmed[name], sent[name]))
            desk.book.confirm(name, confirmed[name])
        else:
            sent[name] = chance.randint(0, sent[name])
            desk.book.redis_has(name, sent[name])
        assert desk.book.pending == sum(noted.values()) - sum(confirmed.values())
    assert not desk.lost
    assert len(desk.sequences()) == desk.book.unsent
