"""Looking for conversations: each filter, pages without gaps, and cursors that are not ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from service.errors import RequestError
from service.storage import ConversationFilter, Conversations, Database, EndedBy, Leg, Speaker, Utterance

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def conversations(database: Database) -> Conversations:
    """Twelve conversations, an hour apart but for the last two, which began in the same moment."""
    kept = Conversations(database)
    for number in range(12):
        name = f"c{number:02}"
        kept.start(
            name,
            agent_id=f"agent_{number % 2}",
            user_id=f"user_{number % 3}",
            started_at=NOON + timedelta(hours=min(number, 10)),
        )
        kept.put_leg(Leg(name, 1, "elevenlabs", NOON, provider_conversation_id=f"conv_{number}"))
        words = f"Number {number} costs 100% of a_b, says the Árbol."
        kept.append([Utterance(name, 1, Speaker.AGENT, words, NOON, "elevenlabs")])
    return kept


def found(conversations: Conversations, limit: int = 50, **wanted: object) -> list[str]:
    page = conversations.search(ConversationFilter(**wanted), limit=limit)  # type: ignore[arg-type]  # a test's shorthand
    return [summary.id for summary in page.items]


def test_the_newest_come_first(conversations: Conversations) -> None:
    assert found(conversations) == [f"c{number:02}" for number in reversed(range(12))]


def test_each_filter_leaves_what_meets_it(conversations: Conversations) -> None:
    assert found(conversations, agent_id="agent_1") == ["c11", "c09", "c07", "c05", "c03", "c01"]
    assert found(conversations, user_id="user_2") == ["c11", "c08", "c05", "c02"]
    assert found(conversations, agent_id="agent_1", user_id="user_2") == ["c11", "c05"]
    assert found(conversations, provider_conversation_id="conv_7") == ["c07"]
    assert found(conversations, since=NOON + timedelta(hours=9)) == ["c11", "c10", "c09"]
    assert found(conversations, until=NOON + timedelta(hours=1)) == ["c00"]
    assert found(conversations, agent_id="nobody") == []


def test_how_it_ended_and_who_spoke_can_be_looked_for(conversations: Conversations) -> None:
    ends = {"c03": 1000, "c04": 1001, "c05": 1011, "c06": 1006}
    for name, code in ends.items():
        conversations.end(name, ended_at=NOON, ended_by=EndedBy.AGENT, code=code, reason=None)
    conversations.put_leg(Leg("c05", 2, "elevenlabs", NOON))
    conversations.put_leg(Leg("c07", 2, "local", NOON))
    assert set(found(conversations, unended=True)).isdisjoint(ends)
    assert found(conversations, ended_badly=True) == ["c06", "c05"]
    assert found(conversations, switched=True) == ["c07"]


def test_legs_are_given_by_conversation_and_number(conversations: Conversations) -> None:
    conversations.put_leg(Leg("c07", 2, "local", NOON))
    legs = conversations.legs_of(["c07", "c08", "nobody"])
    assert {name: [leg.provider for leg in theirs] for name, theirs in legs.items()} == {
        "c07": ["elevenlabs", "local"],
        "c08": ["elevenlabs"],
    }
    assert conversations.legs_of([]) == {}


def test_words_are_found_whatever_their_case_and_as_they_are_written(conversations: Conversations) -> None:
    assert found(conversations, text="nUMBER 7 ") == ["c07"]
    assert len(found(conversations, text="100%")) == 12
    assert found(conversations, text="1%0") == []
    assert len(found(conversations, text="a_b")) == 12
    assert found(conversations, text="aXb") == []
    assert len(found(conversations, text="Árbol")) == 12
    assert found(conversations, text="\\") == []
    assert found(conversations, text="\0\ud800") == []


@pytest.mark.parametrize("limit", [1, 3, 12])
def test_pages_follow_each_other_without_a_gap_or_a_repetition(conversations: Conversations, limit: int) -> None:
    walked, cursor = [], None
    while True:
        page = conversations.search(ConversationFilter(), cursor=cursor, limit=limit)
        walked += [summary.id for summary in page.items]
        assert len(page.items) <= limit
        cursor = page.next_cursor
        if cursor is None:
            break
    assert walked == [f"c{number:02}" for number in reversed(range(12))]


def test_what_begins_or_ends_between_two_pages_moves_nothing(conversations: Conversations) -> None:
    first = conversations.search(ConversationFilter(), limit=4)
    conversations.start("newer", agent_id="agent_0", started_at=NOON + timedelta(days=1))
    conversations.erase("c08")
    second = conversations.search(ConversationFilter(), cursor=first.next_cursor, limit=4)
    assert [summary.id for summary in second.items] == ["c07", "c06", "c05", "c04"]


@pytest.mark.parametrize("limit", [-1, 0])
def test_a_page_has_at_least_one(conversations: Conversations, limit: int) -> None:
    assert found(conversations, limit=limit) == ["c11"]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "%%%", "é", "bm9uZQ", "MjAyNi0wMS0wMVQwMDowMDowMHxj", "MjAyNi0wMS0wMVQwMDowMDowMCswMDowMHw", "9" * 5000],
)
def test_a_cursor_that_is_not_ours_is_refused(conversations: Conversations, cursor: str) -> None:
    with pytest.raises(RequestError, match="no cursor of ours"):
        conversations.search(ConversationFilter(), cursor=cursor)
