"""`python -m migrations upgrade|downgrade|current`: the schema of the database that VOCERO_DATABASE_URL names."""

from __future__ import annotations

import argparse
import sys

from alembic.util import CommandError
from sqlalchemy.exc import SQLAlchemyError

from migrations import runner
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
        url = database_url(settings)
        if options.command == "upgrade":
            runner.upgrade(url, options.revision)
        elif options.command == "downgrade":
            runner.downgrade(url, options.revision)
        print(f"schema: {runner.current_revision(url) or 'none'}")  # noqa: T201 (a command line)
    except (ConfigurationError, CommandError) as exc:
        print(exc, file=sys.stderr)  # noqa: T201
        return 1
    except SQLAlchemyError as exc:
        reason = str(getattr(exc, "orig", exc)).strip().partition("\n")[0]
        print(f"The database refused, nothing was changed: {reason}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m migrations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    upgrade = commands.add_parser("upgrade", help="to a revision, or to the newest")
    upgrade.add_argument("revision", nargs="?", default="head")
    downgrade = commands.add_parser("downgrade", help="to a revision; `base` empties the database")
    downgrade.add_argument("revision")
    commands.add_parser("current", help="show the revision")
    return parser


if __name__ == "__main__":
    sys.exit(main())
