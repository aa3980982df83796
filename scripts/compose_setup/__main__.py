"""`python -m scripts.compose_setup [files|elevenlabs|passwords|authority|schema]`: what Compose's one-shots run.

    files        make what is missing, hand to each service what is its own; run at every start, changes nothing then
    elevenlabs   take the key of an ElevenLabs account (it is asked for, or read from standard input) and an agent's id
    sandbox      forget that key, and use the sandbox again
    passwords    show the first admin's and Grafana's
    authority    show the certificate that browsers and programs have to trust, unless yours was given
    schema       bring the database up to date, with its rights, and make the first admin if there is nobody

The key decision: it has no network but for `schema`, and alone of all services it is root, because files must belong to
those who read them. No secret is an argument, a variable or a line of the log.
"""

from __future__ import annotations

import argparse
import sys

from scripts.compose_setup import installation, schema
from scripts.compose_setup.installation import SetupError
from service.errors import ConfigurationError

FAILED, WRONG = 1, 78


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    parser = argparse.ArgumentParser(prog="setup", description=__doc__.partition("\n\n")[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("files", help="make what is missing (this is what happens without a command)")
    elevenlabs = commands.add_parser("elevenlabs", help="take an ElevenLabs key, in place of the sandbox")
    elevenlabs.add_argument("agent", help="id of the agent that the chat page talks to")
    commands.add_parser("sandbox", help="forget the key, and use the sandbox again")
    commands.add_parser("passwords", help="show the dashboard's first password and Grafana's")
    commands.add_parser("authority", help="show the certificate to trust")
    commands.add_parser("schema", help="bring the database up to date")
    options = parser.parse_args(arguments)
    try:
        return _do(options)
    except ConfigurationError as exc:
        print(f"setup: {exc}", file=sys.stderr)
        return WRONG
    except SetupError as exc:
        print(f"setup: {exc}", file=sys.stderr)
    except OSError as exc:
        print(f"setup: {exc.filename}: {exc.strerror}", file=sys.stderr)
    return FAILED


def _do(options: argparse.Namespace) -> int:
    if options.command == "schema":
        return schema.bring_up_to_date()
    made = installation.from_environment()
    if options.command == "elevenlabs":
        made.take_key(options.agent, installation.read_key())
    elif options.command == "sandbox":
        made.forget_key()
    elif options.command == "passwords":
        print(made.passwords())
        return 0
    elif options.command == "authority":
        print(made.authority(), end="")
        return 0
    print(made.hand_out())
    return 0


if __name__ == "__main__":
    sys.exit(main())
