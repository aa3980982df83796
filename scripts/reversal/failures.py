"""What can come in the way of a rollback, grouped by what the conductor does about it.

The key decision: a message is one line, for a person who was woken up; it says what to do. It never holds a password:
foreign errors are turned into such a line at the border (`one_line`).
"""

from __future__ import annotations

import re
import sqlite3
import subprocess

import psycopg
import redis
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from scripts.reversal.exit_codes import ExitCode
from service.errors import VoceroError

_LONGEST = 300
_PASSWORDS = (
    (re.compile(r"(://[^/\s:@]*:)[^@\s]*@"), r"\1***@"),
    (re.compile(r"(password=)\S+", re.IGNORECASE), r"\1***"),
)


class ReversalError(Exception):
    """The root; `code` is what the command ends with if nobody knows better."""

    code = ExitCode.FAILED_UNCHANGED


class UsageError(ReversalError):
    """The command was not meant like this, or somebody has to confirm it first."""

    code = ExitCode.USAGE


class RefusedError(ReversalError):
    """A look at everything has shown that it would not work; nothing was changed."""

    code = ExitCode.REFUSED


class WrongSettingError(ReversalError):
    """A variable is wrong: the message names it; nothing was looked at."""

    code = ExitCode.CONFIGURATION


class LockHeldError(ReversalError):
    """Another rollback of this database runs now."""

    code = ExitCode.LOCKED


class NothingToDoError(ReversalError):
    """The database is where it should go already, or there is no rollback to go on with."""

    code = ExitCode.NOTHING_TO_DO


class HalfWayError(ReversalError):
    """A rollback has begun and is neither done nor undone."""

    code = ExitCode.HALF_WAY


class StepError(ReversalError):
    """A step cannot be done: the conductor undoes everything, or stops half-way if that is too late."""


class MismatchError(StepError):
    """The downgrade has given something else than planned: the backup goes back."""


class StopRequestedError(KeyboardInterrupt):
    """A signal asks us to stop. Derived so that psycopg cancels the statement that it waits for."""


EXPECTED = (
    ReversalError,
    VoceroError,
    SQLAlchemyError,
    CommandError,
    psycopg.Error,
    sqlite3.Error,
    redis.RedisError,
    OSError,
    subprocess.SubprocessError,
)
"""What a step may raise when the world is broken; anything else means that we are."""


def one_line(failure: BaseException) -> str:
    """What went wrong, in one line without a secret; a sentence of ours keeps its full stop."""
    if isinstance(failure, ReversalError | VoceroError):
        return _first_line(str(failure))
    if isinstance(failure, DBAPIError):
        text = str(failure.orig)
    elif isinstance(failure, OSError) and failure.strerror and not isinstance(failure, ConnectionError):
        text = f"{failure.filename or 'a file'}: {failure.strerror}"
    elif isinstance(failure, redis.RedisError):
        text = f"Redis: {failure}"
    elif isinstance(failure, EXPECTED):
        text = str(failure)
    else:
        text = f"unexpected {type(failure).__name__}: {failure}"
    return (_first_line(text) or type(failure).__name__)[:_LONGEST].rstrip(".")


def sentence(failure: BaseException) -> str:
    """The same, with a full stop."""
    line = one_line(failure)
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    for pattern, replacement in _PASSWORDS:
        line = pattern.sub(replacement, line)
    return line
