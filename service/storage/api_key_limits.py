"""What integrators' keys may be used for, and how much.

The key decision: a key without a row may do everything, so that nothing is written or counted for the keys that nobody
limits; and the code does without the table. On the schema before it (0006), and when a rollback takes the table away
under a running process, every key is such a key; a limit that could not be kept is refused, not forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import structlog
from sqlalchemy import Select
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from service.errors import SchemaError, ServiceUnavailableError
from service.storage.database import Database
from service.storage.models import ApiKeyLimitsRow, ApiKeyRow
from service.storage.schema import (
    API_KEY_LIMITS_REVISION,
    UPGRADE_COMMAND,
    is_forbidden,
    is_missing_table,
    keeps_api_key_limits,
    look_again,
)

log = structlog.get_logger(__name__)

MOST_CONCURRENT = 100_000
MOST_CHARACTERS = 1_000_000_000_000


class ApiScope(StrEnum):
    """What a key may be used for."""

    CONVERSATION = "conversation"
    SPEECH = "speech"


EVERY_SCOPE = frozenset(ApiScope)


@dataclass(frozen=True)
class ApiKeyLimits:
    """What a key may be used for and how much; None: without a limit.

    `max_concurrent` are conversations and requests for speech at the same time, on all nodes together;
    `characters_per_day` are characters of text to be spoken in a day of UTC.
    """

    scopes: frozenset[ApiScope] = EVERY_SCOPE
    max_concurrent: int | None = None
    characters_per_day: int | None = None


NO_LIMITS = ApiKeyLimits()


def check_limits(limits: ApiKeyLimits) -> None:
    """Make sure that a key with these limits can be used at all.

    Raises:
        ValueError: it could not, or a limit is beyond what can be counted; the message says what.
    """
    if not limits.scopes:
        raise ValueError("a key has at least one scope")
    for name, limit, most in (
        ("requests at the same time", limits.max_concurrent, MOST_CONCURRENT),
        ("characters a day", limits.characters_per_day, MOST_CHARACTERS),
    ):
        if limit is not None and not 1 <= limit <= most:
            raise ValueError(f"{name}: from 1 to {most}, not {limit}")


def add_limits(database: Database, session: Session, key_id: str, limits: ApiKeyLimits) -> None:
    """Keep what `limits` says of a key that `session` has just made.

    Raises:
        SchemaError: the database has no table for it.
    """
    if limits == NO_LIMITS:
        return
    _write(database, session, key_id, limits)


def replace_limits(database: Database, session: Session, key_id: str, limits: ApiKeyLimits) -> ApiKeyLimits:
    """Let `limits` hold for a key whose row `session` has locked, in place of those that it had; the result are these.

    Raises:
        SchemaError: the database has no table for it. Where nothing was limited and nothing is to be, none is needed.
    """
    if limits == NO_LIMITS and not keeps_api_key_limits(database):
        return NO_LIMITS
    return _write(database, session, key_id, limits)


def _write(database: Database, session: Session, key_id: str, limits: ApiKeyLimits) -> ApiKeyLimits:
    """Keep them, and no row for none; the result is what was kept before."""
    if not keeps_api_key_limits(database):
        raise _too_old()
    try:
        row = session.get(ApiKeyLimitsRow, key_id, populate_existing=True)
        before = _limits(row)
        if row is not None and limits == NO_LIMITS:
            session.delete(row)
        elif limits != NO_LIMITS:
            row = row or ApiKeyLimitsRow(key_id=key_id)
            row.scopes = ",".join(sorted(limits.scopes))
            row.max_concurrent, row.characters_per_day = limits.max_concurrent, limits.characters_per_day
            session.add(row)
        session.flush()
    except (OperationalError, ProgrammingError) as exc:
        if not is_missing_table(exc):
            raise
        raise _too_old() from exc
    return before


def read_with_limits(database: Database, keys: Select[ApiKeyRow]) -> list[tuple[ApiKeyRow, ApiKeyLimits]]:
    """The keys that `keys` selects, in its order, each with its limits, in one statement.

    Raises:
        ServiceUnavailableError: the database does not answer, or does not let us see limits; so no key is good for more
            than it should be.
    """
    if keeps_api_key_limits(database):
        joined = keys.add_columns(ApiKeyLimitsRow).outerjoin(ApiKeyLimitsRow, ApiKeyLimitsRow.key_id == ApiKeyRow.id)
        with database.reading() as session:
            try:
                return [(key, _limits(row)) for key, row in session.execute(joined)]
            except (OperationalError, ProgrammingError) as exc:
                if is_forbidden(exc):
                    log.warning("the service's role may not read api_key_limits: run python -m migrations grant ROLE")
                    raise ServiceUnavailableError("Keys cannot be looked up now; try again.", retry_after=5.0) from exc
                if not is_missing_table(exc):
                    raise
        look_again(database)
    with database.reading() as session:
        return [(key, NO_LIMITS) for key in session.scalars(keys)]


def _limits(row: ApiKeyLimitsRow | None) -> ApiKeyLimits:
    if row is None:
        return NO_LIMITS
    # A scope that this code does not know is one of a newer release: it opens nothing here.
    names = set(row.scopes.split(","))
    return ApiKeyLimits(
        scopes=frozenset(scope for scope in ApiScope if scope.value in names),
        max_concurrent=row.max_concurrent,
        characters_per_day=row.characters_per_day,
    )


def _too_old() -> SchemaError:
    return SchemaError(
        f"Scopes and limits of keys need schema {API_KEY_LIMITS_REVISION};"
        f" run: {UPGRADE_COMMAND} {API_KEY_LIMITS_REVISION}"
    )
