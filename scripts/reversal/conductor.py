"""Takes a rollback through its steps, writes each into the journal, and decides what a failure means.

The key decision: there is one moment that counts, the commit of the downgrade. Whatever fails before it is undone, and
the command ends with 1, "nothing was changed". Behind it there are two kinds of failure: the database is not what it
should be, then the backup goes back at once, while still nobody is let in; or something is away (a server, a disk),
then everything stays as it is, closed, until `resume` or `restore`. Whether the commit happened is asked of the
database.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from typing import Any

from scripts.reversal import back_steps, forward_steps, last_steps
from scripts.reversal.exit_codes import ExitCode
from scripts.reversal.failures import (
    EXPECTED,
    LockHeldError,
    MismatchError,
    RefusedError,
    StopRequestedError,
    one_line,
    sentence,
)
from scripts.reversal.report import write_report
from scripts.reversal.runs import Outcome
from scripts.reversal.stops import Stops
from scripts.reversal.work import StepFunction, Work

FORWARD: Mapping[str, StepFunction] = {
    "preflight": forward_steps.preflight,
    "lock": forward_steps.lock,
    "maintenance": forward_steps.maintenance,
    "writers": forward_steps.writers,
    "backup": forward_steps.backup,
    "rehearsal": forward_steps.rehearsal,
    "downgrade": forward_steps.downgrade,
    "verification": forward_steps.verification,
    "cache": last_steps.cache,
    "health": last_steps.health,
    "reopening": last_steps.reopening,
    "audit": last_steps.audit,
    "report": last_steps.report,
}
BACK: Mapping[str, StepFunction] = {
    "lock": forward_steps.lock,
    "maintenance": forward_steps.maintenance,
    "writers": forward_steps.writers,
    "backup check": back_steps.backup_check,
    "keeping": back_steps.keeping,
    "restoration": back_steps.restoration,
    "erasures": back_steps.erasures,
    "cache": last_steps.cache,
    "health": last_steps.health,
    "reopening": last_steps.reopening,
    "audit": last_steps.audit,
    "report": last_steps.report,
}
CLOSED = ("lock", "maintenance", "writers")
"""The steps that make sure that nobody is in the database; they come again when a rollback is gone on with."""

RESUME, RESTORE = "python -m scripts.rollback resume", "python -m scripts.rollback restore"


class Committed(Enum):
    """Whether the downgrade is in the database."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


class Conductor:
    """Conducts the rollback of `work`; `go_on` does what its journal says is next, and ends with an exit code."""

    def __init__(self, work: Work, stops: Stops) -> None:
        self._work = work
        self._stops = stops
        self._may_be_from_before = False

    def go_on(self) -> ExitCode:
        """Do everything that is left, whichever way the rollback goes."""
        state = self._work.run.state()
        self._work.found = dict(state.done)
        self._may_be_from_before = "downgrade" in state.begun
        try:
            return self._go_back() if state.goes_back else self._go_forward()
        finally:
            if self._work.closing is not None:
                self._work.closing.stop_keeping()
            with suppress(*EXPECTED):
                self._work.keeper.close()

    # --- Forward ---------------------------------------------------------------------------------------------------

    def _go_forward(self) -> ExitCode:
        try:
            committed = self._committed()
            if committed is Committed.UNKNOWN:
                self._work.keeper.look()  # raises, and says why
            for name in self._left(FORWARD, "downgrade") if committed is Committed.YES else FORWARD:
                self._do(name, FORWARD[name])
        except StopRequestedError as stop:
            return self._stop_half_way(f"by {stop}")
        except LockHeldError as exc:
            return self._leave_to_the_other(exc)
        except MismatchError as exc:
            return self._turn_back(exc)
        except Exception as exc:  # noqa: BLE001 (the edge: whatever broke, the service must not stay closed for nothing)
            return self._after_failure(exc)
        return self._end(Outcome.DONE, ExitCode.DONE)

    def _left(self, steps: Mapping[str, StepFunction], behind: str) -> list[str]:
        """What is left behind a step that was done: with a closed service as long as it is not to be reopened."""
        names = list(steps)
        done = self._work.run.state().done
        left = [name for name in names[names.index(behind) + 1 :] if name not in done]
        return [*CLOSED, *left] if "reopening" in left else ["lock", *left]

    def _committed(self) -> Committed:
        state = self._work.run.state()
        if not (self._may_be_from_before or self._work.may_have_committed):
            return Committed.NO
        try:
            revision = self._work.keeper.look().revision
        except EXPECTED:
            return Committed.YES if "downgrade" in state.done else Committed.UNKNOWN
        return Committed.NO if revision == self._work.terms.current else Committed.YES

    def _after_failure(self, failure: Exception) -> ExitCode:
        self._keep_traceback(failure)
        committed = self._committed()
        if committed is Committed.NO:
            return self._undo(failure)
        what = "the downgrade is done" if committed is Committed.YES else "whether the downgrade was done is not known"
        return self._stop_half_way(f"{one_line(failure)} ({what})")

    def _undo(self, failure: BaseException) -> ExitCode:
        """Leave everything as it was found."""
        work = self._work
        with self._stops.deaf():
            was_untouched = not work.run.state().has_changed_anything
            with suppress(*EXPECTED):
                work.keeper.let_writers()
            try:
                left = work.closing.end(work.tell) if work.closing is not None and not was_untouched else ""
            except EXPECTED as exc:
                return self._stop_half_way(
                    f"{sentence(failure)} The database was not changed, but the service could not be reopened"
                    f" ({one_line(exc)})"
                )
            if left:
                work.note(left)
            self._forget_backup()
        is_refusal = isinstance(failure, RefusedError) and was_untouched
        self._say("failed", reason=one_line(failure))
        if is_refusal:
            return self._end(Outcome.REFUSED, ExitCode.REFUSED)
        return self._end(Outcome.FAILED_UNCHANGED, ExitCode.FAILED_UNCHANGED)

    # --- Back ------------------------------------------------------------------------------------------------------

    def _turn_back(self, failure: MismatchError) -> ExitCode:
        self._say("turned", reason=one_line(failure), asked=False)
        return self._go_back()

    def _go_back(self) -> ExitCode:
        work = self._work
        try:
            if self._has_nothing_to_put_back():
                return self._reopen_unchanged()
            names = list(BACK)
            done = [name for name in ("keeping", "restoration", "erasures") if name in work.run.state().done]
            left = self._left(BACK, done[-1]) if done else names
            for name in left:
                self._do(name, BACK[name])
        except StopRequestedError as stop:
            return self._stop_half_way(f"by {stop}")
        except LockHeldError as exc:
            return self._leave_to_the_other(exc)
        except Exception as exc:  # noqa: BLE001 (as above)
            return self._after_failure_back(exc)
        if work.run.state().was_asked_to_go_back:
            return self._end(Outcome.GIVEN_BACK, ExitCode.DONE)
        return self._end(Outcome.RESTORED, ExitCode.FAILED_UNCHANGED)

    def _has_nothing_to_put_back(self) -> bool:
        state = self._work.run.state()
        if self._work.terms.backup is not None or "restoration" in state.begun or state.came_from is not None:
            return False
        return self._committed() is Committed.NO

    def _reopen_unchanged(self) -> ExitCode:
        for name in ("lock", "health", "reopening", "report"):
            self._do(name, BACK[name])
        self._forget_backup()
        return self._end(Outcome.GIVEN_BACK, ExitCode.DONE)

    def _after_failure_back(self, failure: Exception) -> ExitCode:
        self._keep_traceback(failure)
        work, state = self._work, self._work.run.state()
        if "restoration" in state.begun or (state.came_from is None and work.terms.backup is None):
            return self._stop_half_way(one_line(failure))
        # Somebody wanted the state of before a rollback that was done: what it did is as good as it was.
        with self._stops.deaf():
            try:
                work.keeper.let_writers()
                if work.closing is not None and state.has_changed_anything:
                    work.closing.end(work.tell)
            except EXPECTED as exc:
                return self._stop_half_way(f"{sentence(failure)} The service could not be reopened ({one_line(exc)})")
        self._say("failed", reason=one_line(failure))
        return self._end(state.came_from or Outcome.REFUSED, ExitCode.FAILED_UNCHANGED)

    # --- Both ------------------------------------------------------------------------------------------------------

    def _do(self, name: str, step: StepFunction) -> None:
        work = self._work
        with self._stops.shielded():
            work.run.journal.add("begun", name)
        began = time.monotonic()
        found = step(work) or {}
        with self._stops.shielded():
            work.found[name] = found
            work.run.journal.add("done", name, seconds=round(time.monotonic() - began, 3), **found)

    def _forget_backup(self) -> None:
        """A backup of what was not changed is of no use, and holds what people said."""
        with suppress(OSError):
            self._work.own_backup.unlink(missing_ok=True)

    def _leave_to_the_other(self, failure: LockHeldError) -> ExitCode:
        self._say("failed", reason=one_line(failure))
        if not self._work.run.state().has_changed_anything:
            self._end(Outcome.LOCKED, ExitCode.LOCKED)
        return ExitCode.LOCKED

    def _stop_half_way(self, reason: str) -> ExitCode:
        self._say("stopped", reason=reason)
        return ExitCode.HALF_WAY

    def _end(self, outcome: Outcome, code: ExitCode) -> ExitCode:
        self._say("ended", outcome=outcome.value)
        with self._stops.deaf(), suppress(OSError):
            write_report(self._work.run)
        return code

    def _keep_traceback(self, failure: Exception) -> None:
        """A failure that nobody foresaw is one of ours: keep what is needed to mend it."""
        if not isinstance(failure, EXPECTED):
            with self._stops.deaf(), suppress(OSError):
                lines = traceback.format_exception(failure)
                (self._work.run.folder / "traceback.txt").write_text("".join(lines))

    def _say(self, event: str, **data: Any) -> None:
        """Write it down if that is still possible: a full disk must not hide what has happened."""
        with self._stops.deaf(), suppress(OSError):
            self._work.run.journal.add(event, **data)
