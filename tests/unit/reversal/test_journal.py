"""The journal: what a crash may leave of it, what damage is, and a disk that is full."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.reversal.failures import LockHeldError, RefusedError
from scripts.reversal.journal import FILE, Entry, Journal
from scripts.reversal.runs import Outcome, Runs
from scripts.reversal.terms import Terms

TERMS = Terms(
    id="r", place="sqlite:///x", current="0007", target="0006", actor="a@b", version="1", losses={}, allowed={}
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def kinds(journal: Journal) -> list[tuple[str, str | None]]:
    return [(entry.event, entry.step) for entry in journal.entries()]


def test_what_is_written_is_read(journal: Journal) -> None:
    assert journal.entries() == []
    heard: list[Entry] = []
    watched = Journal(journal.path.parent, observers=(heard.append,))
    watched.add("begun", "backup")
    watched.add("done", "backup", bytes=7, text="ünïcode\n2nd")
    assert heard == journal.entries()
    assert journal.entries()[1].data == {"bytes": 7, "text": "ünïcode\n2nd"}


def test_a_last_line_that_a_crash_has_torn_says_nothing_and_is_cut_off(journal: Journal) -> None:
    journal.add("begun", "backup")
    whole = journal.path.read_bytes()
    journal.add("done", "backup")
    torn = journal.path.read_bytes()
    for end in range(len(whole) + 1, len(torn)):
        journal.path.write_bytes(torn[:end])
        assert kinds(journal) == [("begun", "backup")]
    journal.add("failed", "backup")
    assert kinds(journal) == [("begun", "backup"), ("failed", "backup")]


@pytest.mark.parametrize(
    "damage", [b"garbage\n", b"00000000 []\n", b'00000000 ["a","b","c",{}]\n', b"\n", b"\xff\xfe\n"]
)
def test_any_other_line_that_is_not_whole_is_damage(journal: Journal, damage: bytes) -> None:
    journal.add("begun", "backup")
    good = journal.path.read_bytes()
    damage += b"\n"
    for text in (damage + good, good + damage, good + damage + good):
        journal.path.write_bytes(text)
        with pytest.raises(RefusedError, match=r"The journal is damaged: line \d of .*journal.jsonl. Nothing was"):
            journal.entries()


def test_one_changed_byte_is_damage(journal: Journal) -> None:
    journal.add("done", "backup", sha256="abc")
    text = journal.path.read_bytes()
    journal.path.write_bytes(text.replace(b"abc", b"abd"))
    with pytest.raises(RefusedError):
        journal.entries()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_what_a_full_disk_took_half_of_is_taken_back(journal: Journal) -> None:
    journal.add("begun", "backup")
    before = journal.path.read_bytes()
    with files_of_at_most(len(before) + 20), pytest.raises(OSError, match=r"journal\.jsonl"):
        journal.add("done", "backup")
    assert journal.path.read_bytes() == before
    journal.add("done", "backup")
    assert kinds(journal) == [("begun", "backup"), ("done", "backup")]


def test_the_state_follows_from_the_journal_alone(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "runs")
    assert runs.last() is None
    run = runs.begin("0007", "0006")
    run.journal.add("started", **TERMS.as_json())
    assert run.state().terms == TERMS
    assert not run.state().has_changed_anything
    for step in ("preflight", "lock"):
        run.journal.add("begun", step)
        run.journal.add("done", step)
    assert not run.state().has_changed_anything
    run.journal.add("begun", "maintenance")
    assert run.state().has_changed_anything
    run.journal.add("stopped", reason="SIGTERM")
    assert (run.state().reached, run.state().outcome) == ("maintenance", None)
    run.journal.add("begun", "downgrade")
    run.journal.add("ended", outcome=Outcome.FAILED_UNCHANGED.value)
    assert (run.state().outcome, run.state().begun) == (Outcome.FAILED_UNCHANGED, set())
    run.journal.add("begun", "preflight")
    assert run.state().outcome is None, "gone on with"
    run.journal.add("ended", outcome=Outcome.DONE.value)
    run.journal.add("turned", reason="restore", asked=True)
    state = run.state()
    assert (state.goes_back, state.came_from, state.outcome) == (True, Outcome.DONE, None)


def test_one_that_was_killed_before_its_first_entry_stood_is_none(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    good, torn, empty, bare = (runs.begin("0007", "0006") for _ in range(4))
    good.journal.add("started", **TERMS.as_json())
    torn.journal.path.write_bytes(good.journal.path.read_bytes()[:-1])
    empty.journal.path.touch()
    assert bare.folder.exists()
    assert [run.folder for run in runs.all()] == [good.folder]


def test_two_that_begin_in_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    assert len({runs.begin("0007", "0006").folder for _ in range(3)}) == 3


def test_one_rollback_at_a_time_uses_a_folder(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    with runs.alone(), pytest.raises(LockHeldError, match="Another rollback is running"), runs.alone():
        pass
    with runs.alone():
        pass
    assert not (tmp_path / FILE).exists()
