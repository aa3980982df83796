"""What a process remembers, and what it concludes from its own clock alone."""

from __future__ import annotations

import time

from service.account_limiter.claims import Claim, ClaimBook, Priority, State
from service.account_limiter.ledger import Account, Answer

LIVE, GREETING, OTHER = Priority
ACCOUNT = Account(
    epoch=1, grace_seconds=0.0, limit=1, plan=1, learned=0, reserved=0, mean_seconds=None, held=(0, 0, 0),
    waiting=(0, 0, 0),
)  # fmt: skip


def book_of(**settings: float) -> ClaimBook:
    return ClaimBook(member="m", ttl_seconds=settings.get("ttl", 10.0), max_waiting=3)


def held(book: ClaimBook, *, sent_at: float | None = None) -> Claim:
    claim = book.open(LIVE)
    book.settle(claim, verdict=7, place=6, sent_at=time.monotonic() if sent_at is None else sent_at)
    return claim


def test_a_lease_counts_from_when_its_report_was_sent() -> None:
    book = book_of()
    sent_at = time.monotonic() - 3
    assert held(book, sent_at=sent_at).valid_until == sent_at + 10


def test_whoever_asks_first_the_keeper_hears_once_that_a_lease_has_run_out() -> None:
    book = book_of()
    claim = held(book, sent_at=time.monotonic() - 11)
    assert book.has_lost(claim)
    now = time.monotonic()
    assert book.lapse(now) == [claim]
    assert book.lapse(now) == []
    assert book.tally().lost == 1


def test_what_is_lost_stays_lost_though_its_renewal_arrives() -> None:
    book = book_of()
    claim = held(book, sent_at=time.monotonic() - 11)
    named = book.held()
    assert book.has_lost(claim)
    answer = Answer(account=ACCOUNT, held=[7], waiting=[])
    assert book.apply(answer, released=[], held=named, waiting=[], sent_at=time.monotonic()) == []
    assert book.has_lost(claim)


def test_what_was_given_back_while_a_report_was_on_its_way_is_told_with_the_next_one() -> None:
    book = book_of()
    claim = held(book)
    named = book.held()
    book.leave(claim)
    book.apply(Answer(account=ACCOUNT, held=[7], waiting=[]), released=[], held=named, waiting=[], sent_at=0.0)
    assert [id for id, _ in book.released()] == [claim.id]
    assert book.held() == []


def test_a_grant_that_comes_to_one_who_has_gone_is_given_back() -> None:
    book = book_of()
    claim = book.open(LIVE)
    book.queue(claim, is_bounded=False)
    asked = book.waiting()
    book.leave(claim)
    book.apply(Answer(account=ACCOUNT, held=[], waiting=[(7, 6)]), released=[], held=[], waiting=asked, sent_at=0.0)
    assert claim.state is State.LEFT
    assert [id for id, _ in book.released()] == [claim.id]


def test_what_could_not_be_told_for_one_ttl_needs_no_telling() -> None:
    book = book_of()
    book.leave(held(book))
    now = time.monotonic()
    book.lapse(now + 9)
    assert len(book.released()) == 1
    book.lapse(now + 11)
    assert book.released() == []


def test_a_static_share_is_given_in_turn_and_keeps_what_is_reserved() -> None:
    book = book_of()
    claims = {name: book.open(priority) for name, priority in (("other", OTHER), ("greeting", GREETING))}
    for claim in claims.values():
        book.queue(claim, is_bounded=True)
    book.grant_locally(share=2, reserved=1, now=time.monotonic())
    assert [name for name, claim in claims.items() if claim.state is State.HELD] == ["greeting"]
    live = book.open(LIVE)
    book.queue(live, is_bounded=True)
    book.grant_locally(share=2, reserved=1, now=time.monotonic())
    assert (live.state, claims["other"].state) == (State.HELD, State.WAITING)


def test_without_redis_no_more_wait_than_may() -> None:
    book = book_of()
    claims = [book.open(LIVE) for _ in range(4)]
    for claim in claims:
        book.queue(claim, is_bounded=True)
    assert [claim.state for claim in claims] == [State.WAITING] * 3 + [State.FULL]
    assert book.tally().full == 1
