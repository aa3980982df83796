"""Overrides: set by whoever saw the newest one, and over when their time is."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service.storage import (
    Capability,
    Database,
    Override,
    OverrideConflictError,
    OverrideMode,
    Overrides,
    open_database,
)

SOON = datetime(2026, 3, 1, 13, tzinfo=UTC)


def set_speech(
    overrides: Overrides, mode: OverrideMode = OverrideMode.DISABLED, *, seen: int = 0, author: str = "ana"
) -> Override:
    return overrides.set(Capability.SPEECH, mode, reason="drill", author=author, expires_at=SOON, expected_version=seen)


def test_what_was_never_set_is_auto(database: Database) -> None:
    override = Overrides(database).get(Capability.SPEECH)
    assert override == Override(Capability.SPEECH, OverrideMode.AUTO, 0)
    assert override.mode_at(SOON) is OverrideMode.AUTO


def test_what_was_set_is_read_back_and_the_other_capability_is_as_it_was(database: Database) -> None:
    overrides = Overrides(database)
    made = set_speech(overrides)
    assert (made.mode, made.version, made.reason, made.author) == (OverrideMode.DISABLED, 1, "drill", "ana")
    assert overrides.get(Capability.SPEECH) == made
    assert overrides.list_all() == [Override(Capability.CONVERSATION, OverrideMode.AUTO, 0), made]


def test_an_override_is_over_at_its_time(database: Database) -> None:
    made = set_speech(Overrides(database))
    assert made.mode_at(SOON - timedelta(microseconds=1)) is OverrideMode.DISABLED
    assert made.mode_at(SOON) is OverrideMode.AUTO


def test_whoever_saw_an_older_version_is_told_what_has_been_set(database: Database) -> None:
    overrides = Overrides(database)
    set_speech(overrides)
    second = set_speech(overrides, OverrideMode.FORCED_FALLBACK, seen=1, author="ben")
    for seen in (0, 1, 3):
        with pytest.raises(OverrideConflictError, match="version 2 by now, set by ben") as caught:
            set_speech(overrides, OverrideMode.AUTO, seen=seen, author="cyd")
        assert caught.value.current == second
    assert overrides.get(Capability.SPEECH) == second


def test_a_repetition_is_answered_as_the_first_time(database: Database) -> None:
    overrides = Overrides(database)
    assert set_speech(overrides) == set_speech(overrides)
    again = [set_speech(overrides, OverrideMode.FORCED_FALLBACK, seen=1) for _ in range(2)]
    assert again[0] == again[1]
    assert overrides.get(Capability.SPEECH).version == 2


@pytest.mark.parametrize("seen", [0, 1])
def test_of_many_that_set_it_at_once_one_succeeds(migrated_url: str, seen: int) -> None:
    database = open_database(migrated_url, busy_seconds=20, lock_seconds=20)
    overrides = Overrides(database)
    if seen:
        set_speech(overrides)
    done: list[str] = []

    def try_it(author: str) -> None:
        try:
            done.append(set_speech(overrides, OverrideMode.AUTO, seen=seen, author=author).author)
        except OverrideConflictError as exc:
            assert exc.current.version == seen + 1

    threads = [threading.Thread(target=try_it, args=(f"admin {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [overrides.get(Capability.SPEECH).author] == done
    database.close()


def test_a_reason_of_any_length_is_kept_as_far_as_it_goes(database: Database) -> None:
    overrides = Overrides(database)
    for _ in range(2):  # and the repetition is recognised
        made = overrides.set(
            Capability.SPEECH,
            OverrideMode.AUTO,
            reason="r" * 9000,
            author="\0",
            expires_at=None,
            expected_version=0,
        )
    assert (made.reason, made.author) == ("r" * 500, "\ufffd")


def test_the_database_itself_refuses_a_mode_that_there_is_not(database: Database) -> None:
    set_speech(Overrides(database))
    with pytest.raises(IntegrityError), database.writing() as session:
        session.execute(text("UPDATE overrides SET mode = 'off'"))
