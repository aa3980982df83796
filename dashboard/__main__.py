"""`python -m dashboard check`: whether what the dashboard needs is there.

The key decision: as `python -m service check`, of which it has the options, the lines and the exit codes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from dashboard.checks import run_checks
from dashboard.settings import load_dashboard_settings
from service.checks.command import add_options, tell_findings
from service.env_file import fill_environment
from service.errors import SettingsError
from service.logs import configure_logging


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the result is the exit code."""
    options = _parser().parse_args(arguments)
    configure_logging("error", "console")
    if options.env_file:
        fill_environment(options.env_file)
    try:
        settings = load_dashboard_settings()
    except SettingsError as exc:
        print(f"vocero dashboard: {exc}", file=sys.stderr)  # noqa: T201 (a command line)
        return exc.exit_code
    return tell_findings(lambda: run_checks(settings), wait_seconds=options.wait, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dashboard", description="Whether the dashboard can work.")
    commands = parser.add_subparsers(dest="command", required=True)
    add_options(commands.add_parser("check", help="try everything that the dashboard needs, and say how to mend it"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
