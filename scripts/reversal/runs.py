"""The folder of all rollbacks: one folder for each, with its journal, its backup and its report.

The key decision: what state a rollback is in follows from its journal alone, here and nowhere else; but whether the
downgrade was committed is asked of the database, because a journal cannot know what happened in the moment of a crash.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from scripts.reversal.failures import LockHeldError, RefusedError, UsageError, one_line
from scripts.reversal.journal import FILE, Entry, Journal, Observer, make_private_folder
from scripts.reversal.terms import Terms


class Outcome(StrEnum):
    """How a rollback has ended."""

    DONE = "done"
    FAILED_UNCHANGED = "failed, nothing was changed"
    RESTORED = "failed, and was restored"
    GIVEN_BACK = "restored"
    REFUSED = "refused"
    LOCKED = "another one was running"
    NOTHING_TO_DO = "nothing to do"


BEGINS_ANEW = frozenset({Outcome.FAILED_UNCHANGED, Outcome.REFUSED, Outcome.LOCKED})
"""Ends that have changed nothing: `resume` tries again from the beginning."""


@dataclass
class State:
    """What the journal tells. `done` has what each step found out, since the way was last changed."""

    terms: Terms
    goes_back: bool = False
    was_asked_to_go_back: bool = False
    came_from: Outcome | None = None
    outcome: Outcome | None = None
    begun: set[str] = field(default_factory=set)
    done: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    before_turn: tuple[set[str], dict[str, Mapping[str, Any]]] = field(default_factory=lambda: (set(), {}))
    reached: str = ""

    @property
    def has_changed_anything(self) -> bool:
        """Whether there is something to undo or to go on with."""
        return bool(self.begun - {"preflight", "lock"})


@dataclass(frozen=True)
class Run:
    """One rollback: its folder and journal."""

    folder: Path
    journal: Journal

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def report(self) -> Path:
        return self.folder / "report.json"

    def state(self) -> State:
        """What the journal tells.

        Raises:
            RefusedError: it is damaged.
        """
        entries = self.journal.entries()
        if not entries or entries[0].event != "started":
            raise RefusedError(f"The journal is damaged: {self.journal.path} has no beginning.")
        return _state(entries)


def _state(entries: Sequence[Entry]) -> State:
    state = State(Terms.from_json(entries[0].data))
    for entry in entries:
        if "terms" in entry.data:  # what somebody wants otherwise from now on
            state.terms = replace(state.terms, **entry.data["terms"])
        if entry.event == "begun" and entry.step:
            state.begun.add(entry.step)
            state.outcome, state.reached = None, entry.step
        elif entry.event == "done" and entry.step:
            state.done[entry.step] = entry.data
        elif entry.event == "turned":
            state.before_turn = (state.begun, state.done)
            state.goes_back, state.came_from, state.outcome = True, state.outcome, None
            state.was_asked_to_go_back = bool(entry.data.get("asked"))
            state.done = {name: data for name, data in state.done.items() if name in {"backup", "rehearsal"}}
            state.begun = state.begun & {"maintenance", "downgrade"}
        elif entry.event == "ended":
            state.outcome = Outcome(entry.data["outcome"])
            if state.goes_back and state.outcome is state.came_from:  # it did not work out, and all is as before
                state.begun, state.done = state.before_turn
                state.goes_back, state.came_from = False, None
            if state.outcome in BEGINS_ANEW:
                state.begun, state.done = set(), {}
    return state


def _has_begun(journal: Path) -> bool:
    return journal.exists() and b"\n" in journal.read_bytes()


class Runs:
    """The rollbacks in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def all(self) -> list[Run]:
        """Oldest first. One that was killed, or found the disk full, before its first entry was written is none."""
        if not self.folder.is_dir():
            return []
        return [Run(path, Journal(path)) for path in sorted(self.folder.iterdir()) if _has_begun(path / FILE)]

    def last(self) -> Run | None:
        """The newest one."""
        return self.all()[-1] if self.all() else None

    def find(self, name: str | None) -> Run:
        """The one called `name`; the newest one if that is None.

        Raises:
            UsageError: there is none.
        """
        found = [run for run in self.all() if name in {None, run.id}]
        if not found:
            raise UsageError(f"There is no rollback {name or ''} in {self.folder}.".replace("  ", " "))
        return found[-1]

    def begin(self, current: str, target: str) -> Run:
        """A folder for a new one.

        Raises:
            RefusedError: it cannot be written to.
        """
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        number = 0
        while True:
            suffix = f"-{number}" if number else ""
            path = self.folder / f"{stamp}{suffix}-{current}-to-{target}"
            try:
                make_private_folder(self.folder)
                path.mkdir(mode=0o700)
            except FileExistsError:
                number += 1
            except OSError as exc:
                raise RefusedError(f"{one_line(exc)}: the journal cannot be kept there; give --journal-dir.") from None
            else:
                return Run(path, Journal(path))

    def watched(self, run: Run, observers: tuple[Observer, ...]) -> Run:
        """The same one, whose entries `observers` hear of."""
        return Run(run.folder, Journal(run.folder, observers=observers))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other rollback with this folder out for the length of the block.

        Raises:
            LockHeldError: one is running.
            RefusedError: the folder cannot be used.
        """
        try:
            make_private_folder(self.folder)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise RefusedError(f"{one_line(exc)}: the journal cannot be kept there; give --journal-dir.") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise LockHeldError(f"Another rollback is running: {self._holder()}") from None
        try:
            yield
        finally:
            os.close(descriptor)

    def _holder(self) -> str:
        run = self.last()
        return f"{run.id}, see `status`." if run is not None else f"it holds {self.folder / 'lock'}."

    def forget_backups(self, days: int) -> list[Path]:
        """Delete the backups that are older than `days`: they hold what people said."""
        oldest = time.time() - days * 86_400
        found = [path for run in self.all() for path in run.folder.glob("*.backup") if path.stat().st_mtime < oldest]
        for path in found:
            path.unlink()
        return found
