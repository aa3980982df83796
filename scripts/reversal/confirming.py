"""Having somebody agree before anything is changed: to what is lost, and to the whole."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from scripts.reversal.failures import UsageError
from scripts.reversal.losses import as_arguments, not_allowed
from scripts.reversal.options import Options, is_terminal


def check_allowed(options: Options, losses: Mapping[str, int], what: str) -> None:
    """Make sure that every loss was allowed in so many words; `what` says what is lost.

    Raises:
        UsageError: one was not, and the line says what to add.
    """
    too_many = not_allowed(losses, options.allowed or {})
    if too_many:
        said = ", ".join(f"{count:,} in {name}" for name, count in too_many.items())
        raise UsageError(f"{what} would be lost: {said}. If that is meant, add{as_arguments(losses)}")


def confirm(options: Options, question: str, answer: str) -> None:
    """Have `answer` typed, unless --yes was given.

    Raises:
        UsageError: something else was typed, or nobody is there.
    """
    if options.yes:
        return
    if not is_terminal():
        raise UsageError("Nobody can be asked here: --yes is missing.")
    sys.stderr.write(f"{question} Type {answer} to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != answer:
        raise UsageError("Not confirmed; nothing was changed.")
