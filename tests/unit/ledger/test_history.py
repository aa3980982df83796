"""Database and ledger laid on each other: as the database would have it when all is drained."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from migrations import runner
from service.conversation.ledger_entries import encode, kind_of
from service.conversation.ledger_history import make_history
from service.storage import Conversations, open_database
from service.storage.conversation_records import Utterance
from service.storage.record_writer import Record, RecordWriter
from tests.ledgers.talks import NOW, began, corrected, ended, leg, said, whole

NUMBERS = itertools.count()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Conversations]:
    """An empty database."""
    url = f"sqlite:///{tmp_path}/vocero.db"
    runner.upgrade(url)
    database = open_database(url)
    yield Conversations(database)
    database.close()


def entries(records: list[Record], first: int = 1) -> list[tuple[int, int, str, bytes]]:
    return [(number, 1, kind_of(record), encode(record)) for number, record in enumerate(records, first)]


def test_the_ledger_alone_tells_it_all() -> None:
    history = make_history(None, entries(whole("c1", 3)))
    assert history.summary == ended("c1")
    assert history.legs == (replace(leg("c1"), ended_at=NOW, end_cause="client 1000"),)
    assert history.utterances == (said("c1", 1), said("c1", 2), corrected("c1", 3))
    assert (history.last_sequence, history.fence) == (8, 1)
    assert history.records()[0] == history.summary


def test_an_entry_that_cannot_be_read_is_passed_over() -> None:
    assert make_history(None, [(1, 1, "?", b"{}"), *entries([began("c1")], 2)]).summary == began("c1")


VERSIONS = [
    said("c1", 1),
    corrected("c1", 1),
    corrected("c1", 1, "He...", seconds=1.0),
    replace(said("c1", 1), interrupted=True, text="H"),
    replace(said("c1", 1), text="Hello, you.", corrected_at=NOW + timedelta(seconds=9)),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(versions=st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=5), drained=st.integers(0, 5))
def test_it_is_what_the_database_will_have_however_much_of_it_is_drained(
    kept: Conversations, versions: list[Utterance], drained: int
) -> None:
    name = f"c{next(NUMBERS)}"
    writer = RecordWriter(kept)
    records: list[Record] = [began(name), *(replace(one, conversation_id=name) for one in versions)]
    writer.write(records[: drained + 1])
    history = make_history(kept.get(name), entries(records))
    writer.write(records)
    there = kept.get(name)
    assert there is not None
    assert history.utterances == there.utterances
