"""Writing down what conversations put aside: in order, in the background, within bounds, through an outage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import DataError

from scripts.launcher.waiting import wait_until
from service.errors import ServiceUnavailableError
from service.storage import Conversations, Database
from service.storage.conversation_records import ConversationSummary, EndedBy, Leg, Speaker, Utterance
from service.storage.conversation_writer import BATCH, ConversationWriter

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LIMIT = 20.0
BEGAN = ConversationSummary(id="conv_one", agent_id="agent_one", started_at=NOW, language="es")
ENDED = replace(BEGAN, ended_at=NOW, ended_by=EndedBy.CLIENT, end_code=1000, end_reason="", first_audio_seconds=0.4)


def said(sequence: int, text: str = "Hello.") -> Utterance:
    return Utterance("conv_one", sequence, Speaker.AGENT, text, NOW, "elevenlabs")


class Awkward:
    """`Conversations` that fail as they are told to."""

    def __init__(self, real: Conversations | None = None) -> None:
        self.real: Any = real
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.written: list[str] = []

    def _do(self, name: str, *arguments: Any, **options: Any) -> Any:
        assert self.gate.wait(LIMIT)
        if self.failures:
            raise self.failures.pop(0)
        self.written.append(name)
        return getattr(self.real, name)(*arguments, **options) if self.real is not None else True

    def start(self, *arguments: Any, **options: Any) -> Any:
        return self._do("start", *arguments, **options)

    def end(self, *arguments: Any, **options: Any) -> Any:
        return self._do("end", *arguments, **options)

    def put_leg(self, *arguments: Any, **options: Any) -> Any:
        return self._do("put_leg", *arguments, **options)

    def append(self, utterances: Any) -> int:
        those = list(utterances)
        self._do("append", those)
        return len(those)


@pytest.fixture
def awkward() -> Awkward:
    return Awkward()


@pytest.fixture
def writer(awkward: Awkward) -> Iterator[ConversationWriter]:
    writer = ConversationWriter(awkward, max_waiting=500)  # type: ignore[arg-type]
    yield writer
    awkward.gate.set()
    writer.close()


def away() -> ServiceUnavailableError:
    return ServiceUnavailableError("The database does not answer now; try again.", retry_after=2.0)


def test_a_whole_conversation_is_in_the_database_when_the_writer_has_closed(database: Database) -> None:
    conversations = Conversations(database)
    writer = ConversationWriter(conversations)
    writer.start()
    leg = Leg("conv_one", 1, "elevenlabs", NOW, provider_conversation_id="conv_one")
    corrected = replace(said(1, "Hel..."), interrupted=True, corrected_at=NOW)
    for record in (BEGAN, leg, said(1), said(2, "Yes?"), corrected, replace(leg, ended_at=NOW), ENDED):
        writer.note(record)
    writer.close(LIMIT)
    assert writer.pending == 0
    found = conversations.get("conv_one")
    assert found is not None
    assert found.summary == ENDED
    assert found.legs == (replace(leg, ended_at=NOW),)
    assert found.utterances == (corrected, said(2, "Yes?"))


def test_noting_waits_for_nothing_however_long_the_database_takes(writer: ConversationWriter, awkward: Awkward) -> None:
    awkward.gate.clear()
    writer.start()
    for number in range(400):
        writer.note(said(number))
    assert writer.pending == 400
    assert awkward.written == []


def test_utterances_that_follow_each_other_are_written_together(writer: ConversationWriter, awkward: Awkward) -> None:
    for record in (BEGAN, *(said(number) for number in range(BATCH + 50))):
        writer.note(record)
    writer.start()
    wait_until(lambda: writer.pending == 0, LIMIT, "all written")
    assert awkward.written == ["start", "append", "append"]


def test_an_outage_loses_nothing_and_keeps_the_order(database: Database) -> None:
    awkward = Awkward(Conversations(database))
    writer = ConversationWriter(awkward)  # type: ignore[arg-type]
    awkward.failures = [away() for _ in range(4)]
    writer.start()
    for record in (BEGAN, said(1), said(2), ENDED):
        writer.note(record)
    wait_until(lambda: writer.pending == 0, LIMIT, "all written")
    writer.close()
    found = Conversations(database).get("conv_one")
    assert found is not None
    assert [one.sequence for one in found.utterances] == [1, 2]
    assert found.summary.ended_by is EndedBy.CLIENT


def test_when_too_many_wait_the_newest_are_dropped_and_it_is_said_once_and_in_numbers_at_the_end(
    writer: ConversationWriter, awkward: Awkward
) -> None:
    awkward.gate.clear()
    writer.start()
    with structlog.testing.capture_logs() as logged:
        for number in range(600):
            writer.note(said(number))
        assert writer.pending == 500
        awkward.gate.set()
        wait_until(lambda: len(logged) >= 2, LIMIT, "the end of it is told")
    assert [(entry["event"], entry.get("count")) for entry in logged] == [
        ("records of conversations are lost", None),
        ("records of conversations were lost", 100),
    ]


def test_a_record_that_the_database_refuses_is_dropped_and_holds_up_nobody(
    writer: ConversationWriter, awkward: Awkward
) -> None:
    awkward.failures = [DataError("INSERT of secret words", {}, Exception("secret words"))]
    with structlog.testing.capture_logs() as logged:
        writer.note(BEGAN)
        writer.note(said(1))
        writer.start()
        wait_until(lambda: awkward.written == ["append"], LIMIT, "the one behind it")
    assert "DataError" in repr(logged)
    assert "secret words" not in repr(logged)


def test_a_conversation_that_was_erased_is_told_of_and_the_rest_of_it_is_no_obstacle() -> None:
    refusing = Awkward()
    refusing.start = lambda *_, **__: False  # type: ignore[method-assign]
    refused: list[str] = []
    writer = ConversationWriter(
        refusing,  # type: ignore[arg-type]
        on_refused=lambda summary: refused.append(summary.id),
    )
    for record in (BEGAN, said(1), ENDED):
        writer.note(record)
    writer.start()
    wait_until(lambda: writer.pending == 0, LIMIT, "all written")
    writer.close()
    assert refused == ["conv_one", "conv_one"]
    assert refusing.written == ["append"]


def test_closing_writes_what_waits_but_not_for_ever(writer: ConversationWriter, awkward: Awkward) -> None:
    writer.start()
    awkward.gate.clear()
    writer.note(BEGAN)
    wait_until(lambda: writer.pending == 1, LIMIT, "taken up")
    with structlog.testing.capture_logs() as logged:
        writer.close(timeout=0.05)
    assert logged[0]["reason"] == "the process has ended"
