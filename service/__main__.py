"""`python -m service config|check`: what the configuration is, and whether what it names is there.

The key decision: both read the settings as the service does, so they say what would happen, and no secret is in what
they print: what a library says is never shown, but for the words that were looked at where it is caught.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from service import __version__, effective_settings, unknown_variables
from service.checks import run_checks
from service.checks.command import DONE, add_options, tell_findings
from service.config import Settings, load_service_settings, load_settings
from service.env_file import fill_environment
from service.errors import SettingsError
from service.logs import configure_logging
from service.storage.schema import SCHEMA_REVISION


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging("error", "console")
    filled = fill_environment(options.env_file) if options.env_file else frozenset[str]()
    try:
        if options.command == "config":
            return _config(load_settings(), filled, as_json=options.json)
        settings = load_service_settings()
    except SettingsError as exc:
        print(f"vocero: {exc}", file=sys.stderr)  # noqa: T201 (a command line)
        return exc.exit_code
    return tell_findings(lambda: run_checks(settings), wait_seconds=options.wait, as_json=options.json)


def _config(settings: Settings, filled: frozenset[str], *, as_json: bool) -> int:
    found = effective_settings.effective(settings, of_env_file=filled)
    complaints = unknown_variables.complaints()
    if as_json:
        said = {
            "version": __version__,
            "schema": SCHEMA_REVISION,
            "settings": effective_settings.as_json(found),
            "warnings": complaints,
        }
        print(json.dumps(said, indent=2))  # noqa: T201 (a command line)
        return DONE
    print(f"Vocero {__version__}, schema {SCHEMA_REVISION}. A star is before what is not the default.\n")  # noqa: T201
    print(effective_settings.as_text(found))  # noqa: T201 (a command line)
    for complaint in complaints:
        print(f"Warning: {complaint}", file=sys.stderr)  # noqa: T201 (a command line)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service", description="What the configuration is and does.")
    commands = parser.add_subparsers(dest="command", required=True)
    config = commands.add_parser("config", help="show every setting, where it comes from, and no secret")
    check = commands.add_parser(
        "check",
        help="try all that the service needs, and say how to mend it (the dashboard's: python -m dashboard check)",
    )
    add_options(config, waits=False)
    add_options(check)
    return parser


if __name__ == "__main__":
    sys.exit(main())
