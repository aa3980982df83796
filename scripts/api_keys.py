"""`python -m scripts.api_keys create|list|revoke`: the keys of integrators, in the database of VOCERO_DATABASE_URL."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from service.config import load_settings
from service.errors import ConfigurationError
from service.storage import ApiKey, ApiKeyLimits, ApiKeys, ApiScope, check_schema, database_url, open_database

BUSY_SECONDS = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    options = _parser().parse_args(arguments)
    try:
        database = open_database(database_url(load_settings()), busy_seconds=BUSY_SECONDS)
        try:
            check_schema(database)
            return _do(ApiKeys(database), options)
        finally:
            database.close()
    except (ConfigurationError, ValueError) as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code if isinstance(exc, ConfigurationError) else 1
    except SQLAlchemyError as exc:
        print(f"The database refused: {str(getattr(exc, 'orig', exc)).partition(chr(10))[0]}", file=sys.stderr)
    return 1


def _do(keys: ApiKeys, options: argparse.Namespace) -> int:
    if options.command == "create":
        days: int | None = options.days
        expires_at = datetime.now(UTC) + timedelta(days=days) if days is not None else None
        limits = ApiKeyLimits(
            scopes=frozenset(options.scope or ApiScope),
            max_concurrent=options.concurrency,
            characters_per_day=options.characters_a_day,
        )
        made, key = keys.create(options.name, expires_at=expires_at, limits=limits)
        print(f"{made.id}  {key}\nThe key is shown this once; keep it in a safe place.")
        return 0
    if options.command == "revoke":
        found = keys.revoke(options.id)
        print("Revoked." if found else f"There is no key {options.id}.", file=sys.stdout if found else sys.stderr)
        return 0 if found else 1
    for row in keys.list_all():
        known = f"{row.id}  ...{row.last_characters}  {row.created_at:%Y-%m-%d}"
        print(f"{known}  {_state(row):<22}  {row.name}{_limits(row.limits)}")
    return 0


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.expires_at is None:
        return "good"
    return f"{'good until' if key.is_good(datetime.now(UTC)) else 'expired'} {key.expires_at:%Y-%m-%d}"


def _limits(limits: ApiKeyLimits) -> str:
    said = [] if limits.scopes == frozenset(ApiScope) else [" and ".join(sorted(limits.scopes)) or "nothing"]
    if limits.max_concurrent is not None:
        said.append(f"{limits.max_concurrent} at once")
    if limits.characters_per_day is not None:
        said.append(f"{limits.characters_per_day} characters a day")
    return f"  ({', '.join(said)})" if said else ""


def _days(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 3650:
        raise argparse.ArgumentTypeError("must be from 1 to 3650")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.api_keys", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and show it once")
    create.add_argument("name", help="whose it is")
    create.add_argument("--days", type=_days, help="days for which it is good (default: until it is revoked)")
    create.add_argument(
        "--scope",
        type=ApiScope,
        choices=list(ApiScope),
        action="append",
        help="what it may be used for; give it again for more than one (default: everything)",
    )
    create.add_argument(
        "--concurrency", type=int, help="conversations and speech requests at the same time (default: any number)"
    )
    create.add_argument(
        "--characters-a-day", type=int, help="characters of text to be spoken in a day of UTC (default: any number)"
    )
    commands.add_parser("list", help="show every key's id, last four characters, state, name and limits")
    revoke = commands.add_parser("revoke", help="end a key for good")
    revoke.add_argument("id")
    return parser


if __name__ == "__main__":
    sys.exit(main())
