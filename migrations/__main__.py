"""`python -m migrations upgrade|downgrade|current|grant`: the schema of the database of VOCERO_DATABASE_URL."""

from __future__ import annotations

import argparse
import sys

from alembic.util import CommandError
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from migrations import deployed, grants, runner
from service.config import load_settings
from service.errors import ConfigurationError
from service.logs import configure_logging
from service.storage import database_url


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        configure_logging(settings.log_level, "console")
        print(_do(database_url(settings), options))  # noqa: T201 (a command line)
    except (ConfigurationError, CommandError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201
        return exc.exit_code if isinstance(exc, ConfigurationError) else 1
    except SQLAlchemyError as exc:
        reason = str(getattr(exc, "orig", exc)).strip().partition("\n")[0]
        print(f"The database refused, nothing was changed: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _do(url: str, options: argparse.Namespace) -> str:
    """Carry out the command; the result is what it has to say."""
    if options.command == "grant":
        return _grant(url, options)
    if options.command in {"upgrade", "downgrade"}:
        up = options.command == "upgrade"
        if options.sql:
            write = runner.upgrade_sql if up else runner.downgrade_sql
            found = runner.current_revision(url) or "base"
            return write(found, options.revision, dialect_name=make_url(url).get_backend_name())
        (runner.upgrade if up else runner.downgrade)(url, options.revision)
    revision = runner.current_revision(url)
    if options.command == "upgrade":
        deployed.record(url, revision)
    return f"schema: {revision or 'none'}"


def _grant(url: str, options: argparse.Namespace) -> str:
    if options.print:
        return ";\n".join([*grants.grant_statements(url, options.role), ""]).rstrip("\n")
    grants.grant(url, options.role)
    return f"rights: given to {options.role}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m migrations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    upgrade = commands.add_parser("upgrade", help="to a revision, or to the newest")
    upgrade.add_argument("revision", nargs="?", default="head")
    downgrade = commands.add_parser("downgrade", help="to a revision; `base` empties the database")
    downgrade.add_argument("revision")
    for parsed in (upgrade, downgrade):
        parsed.add_argument("--sql", action="store_true", help="show the SQL and change nothing")
    commands.add_parser("current", help="show the revision")
    grant = commands.add_parser("grant", help="PostgreSQL: give the service's role its rights, and no others")
    grant.add_argument("role")
    grant.add_argument("--print", action="store_true", help="show the SQL and change nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
