"""The exit codes of a rollback: what a person or a program that started it has to do next."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The contract; `python -m scripts.rollback --help` shows it."""

    DONE = 0
    FAILED_UNCHANGED = 1
    USAGE = 2
    REFUSED = 3
    HALF_WAY = 4
    LOCKED = 5
    NOTHING_TO_DO = 6
    CONFIGURATION = 78


MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED_UNCHANGED: "failed, and the database is as it was (never changed, or restored)",
    ExitCode.USAGE: "wrong usage, or a confirmation is missing; nothing was changed",
    ExitCode.REFUSED: "refused before anything was changed",
    ExitCode.HALF_WAY: "stopped half-way: `resume` goes on, `restore` goes back",
    ExitCode.LOCKED: "another rollback holds the lock",
    ExitCode.NOTHING_TO_DO: "there is nothing to do",
    ExitCode.CONFIGURATION: "a setting is wrong; nothing was changed",
}


def table() -> str:
    """The codes with their meanings, a line each."""
    return "\n".join(f"  {code.value}  {meaning}" for code, meaning in MEANINGS.items())
