"""Records as they lie in the ledger: what goes in comes out, whoever reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.conversation.ledger_entries import EntryKind, conversation_id_of, decode, encode, kind_of
from service.redis_keys import conversation_key, conversation_of
from service.storage.conversation_records import ConversationSummary, EndedBy, Leg, Speaker, Utterance

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 (bounds)
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SUMMARIES = st.builds(
    ConversationSummary,
    id=WORDS,
    agent_id=WORDS,
    started_at=MOMENTS,
    user_id=st.none() | WORDS,
    language=st.none() | WORDS,
    ended_at=st.none() | MOMENTS,
    ended_by=st.none() | st.sampled_from(EndedBy),
    end_code=st.none() | st.integers(0, 5000),
    end_reason=st.none() | WORDS,
    opening_seconds=st.none() | st.floats(0, 100),
)
LEGS = st.builds(
    Leg, WORDS, st.integers(1, 99), WORDS, MOMENTS, st.none() | WORDS, st.none() | MOMENTS, st.none() | WORDS
)
UTTERANCES = st.builds(
    Utterance,
    WORDS,
    st.integers(1, 10_000),
    st.sampled_from(Speaker),
    WORDS,
    MOMENTS,
    WORDS,
    st.booleans(),
    st.none() | MOMENTS,
)


@given(SUMMARIES | LEGS | UTTERANCES)
def test_what_goes_in_comes_out(record: ConversationSummary | Leg | Utterance) -> None:
    assert decode(kind_of(record), encode(record)) == record
    assert encode(record) == encode(record)
    assert conversation_id_of(record) in {getattr(record, "id", None), getattr(record, "conversation_id", None)}


def test_what_is_usual_is_left_out_and_what_is_unknown_is_ignored() -> None:
    record = Utterance("c1", 1, Speaker.USER, "Hi.", datetime(2026, 11, 25, tzinfo=UTC), "elevenlabs")
    said = orjson.loads(encode(record))
    assert set(said) == {"conversation_id", "sequence", "speaker", "text", "at", "provider"}
    assert decode("utterance", orjson.dumps({**said, "mood": "good"})) == record


def test_an_end_is_told_from_a_beginning() -> None:
    began = ConversationSummary("c1", "a1", datetime(2026, 11, 25, tzinfo=timezone(timedelta(hours=2))))
    ended = ConversationSummary("c1", "a1", began.started_at, ended_at=began.started_at, ended_by=EndedBy.AGENT)
    assert (kind_of(began), kind_of(ended)) == (EntryKind.SUMMARY, EntryKind.END)
    assert decode("owner", b"") is None


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    record = Utterance("c1", 1, Speaker.USER, "a \ud83c b", datetime(2026, 11, 25, tzinfo=UTC), "elevenlabs")
    found = decode("utterance", encode(record))
    assert isinstance(found, Utterance)
    assert found.text == "a \ufffd b"


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("of another release", b"{}"),
        ("utterance", b"{}"),
        ("utterance", b"[1]"),
        ("utterance", b"{"),
        ("leg", b'{"conversation_id": "c1", "number": 1, "provider": "x", "started_at": 4}'),
        ("leg", b'{"conversation_id": "c1", "number": 1, "provider": "x", "started_at": "soon"}'),
        ("end", b'{"id": "c1", "agent_id": "a", "started_at": "2026-11-25T00:00:00+00:00", "ended_by": "nobody"}'),
    ],
)
def test_what_cannot_be_read_is_a_value_error_that_quotes_nothing(kind: str, raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        decode(kind, raw)
    assert "c1" not in str(caught.value)


@given(st.text(max_size=40))
def test_the_id_in_a_key_can_be_read_back(conversation_id: str) -> None:
    readable = conversation_id.encode(errors="replace").decode()
    assert conversation_of(conversation_key(conversation_id, "ledger").encode()) == readable


def test_an_ordinary_id_stands_in_its_key_as_it_is() -> None:
    assert conversation_key("conv_01jx9/ana@example.com", "ledger").endswith(":conv_01jx9/ana@example.com:ledger")
