"""The two kinds of database that a rollback works on, behind one interface."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from scripts.reversal.databases.keeper import Blocker, Facts, Keeper
from scripts.reversal.databases.pg_programs import PgPrograms
from scripts.reversal.databases.postgresql import PostgresqlKeeper
from scripts.reversal.databases.sqlite import SqliteKeeper
from scripts.reversal.failures import RefusedError
from service.errors import ConfigurationError
from service.storage import open_database

__all__ = ["Blocker", "Facts", "Keeper", "PgPrograms", "make_keeper"]


def make_keeper(url: str, *, programs: PgPrograms, scratch_folder: Path) -> Keeper:
    """The keeper of the database at `url`; nothing is connected yet. Scratch files lie in `scratch_folder`.

    Raises:
        RefusedError: the URL is of no use.
    """
    try:
        database = open_database(url)
        database.close()
        parsed = make_url(url)
    except (ConfigurationError, ArgumentError) as exc:
        raise RefusedError(str(exc)) from None
    if database.is_sqlite:
        return SqliteKeeper(parsed, scratch_folder=scratch_folder)
    return PostgresqlKeeper(parsed, programs=programs)
