"""The command line of a rollback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from scripts.reversal.exit_codes import table
from scripts.reversal.failures import UsageError, WrongSettingError
from scripts.reversal.losses import read_allowed
from scripts.reversal.terms import DRAIN_SECONDS, WAIT_SECONDS
from service.config import load
from service.errors import SettingsError
from service.variables import VariablesSettings

COMMANDS = ("plan", "apply", "status", "resume", "restore", "reopen")
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "python -m scripts.rollback"
LONGEST_SECONDS = 86_400.0

DESCRIPTION = """\
Take the database back to an earlier schema, clean the caches, and say what that costs before it happens.

  plan      what would be done, lost and in the way; changes nothing (this is the default)
  apply     do it: close the service, back up, rehearse, downgrade, verify, clean, open again
  status    how far the last rollback has come, and what to type next
  resume    go on with a rollback that was interrupted or failed
  restore   go back: bring the backup of a rollback into the database again
  reopen    end a maintenance that was forgotten

The settings are those of the service (VOCERO_DATABASE_URL, VOCERO_REDIS_URL, ...). The runbook is docs/rollback.md.
"""


class RollbackSettings(VariablesSettings):
    """The variables that only the rollback reads."""

    folder: Path = Field(
        Path(".vocero/rollback"),
        alias="VOCERO_ROLLBACK_DIR",
        description="Folder of the rollbacks' journals and backups; `resume` needs the one of `apply`."
        " A relative one is meant from where Vocero is installed.",
    )


@dataclass(frozen=True)
class Options:
    """What was asked for. `target` is a revision, `-N`, or None if `release` names it."""

    command: str
    target: str | None = None
    release: str | None = None
    run: str | None = None
    backup: Path | None = None
    allowed: Mapping[str, int] | None = None
    yes: bool = False
    as_json: bool = False
    uses_redis: bool = True
    drain_seconds: float = DRAIN_SECONDS
    wait_seconds: float = WAIT_SECONDS
    service_url: str | None = None
    pg_bin: Path | None = None
    journal_folder: Path = ROOT / ".vocero" / "rollback"

    given_folder: Path | None = None

    @property
    def changed_terms(self) -> dict[str, Any]:
        """What a further command may change of a rollback's terms."""
        return {
            "uses_redis": self.uses_redis,
            "drain_seconds": self.drain_seconds,
            "wait_seconds": self.wait_seconds,
            "service_url": self.service_url or None,
        }

    @property
    def changed_for_resume(self) -> dict[str, Any]:
        """What `resume` may change: leave Redis alone, ask another service or (an empty address) none."""
        changed: dict[str, Any] = {} if self.uses_redis else {"uses_redis": False}
        return changed if self.service_url is None else {**changed, "service_url": self.service_url or None}

    @property
    def where(self) -> str:
        """The arguments that every further command has to repeat."""
        parts = [f" --journal-dir {self.given_folder}"] if self.given_folder else []
        return "".join([*parts, f" --pg-bin {self.pg_bin}" if self.pg_bin else ""])

    @property
    def same_again(self) -> str:
        """The arguments that `apply` has to repeat of `plan`."""
        parts = [] if self.uses_redis else [" --no-redis"]
        parts += [f" --service-url {self.service_url}"] if self.service_url else []
        parts += [f" --drain-seconds {self.drain_seconds:g}"] if self.drain_seconds != DRAIN_SECONDS else []
        parts += [f" --wait-seconds {self.wait_seconds:g}"] if self.wait_seconds != WAIT_SECONDS else []
        return "".join(parts) + self.where


def read_options(arguments: Sequence[str]) -> Options:
    """The options in `arguments`; argparse itself ends the program with 2 if they are none.

    Raises:
        UsageError: they exclude each other, or a value is wrong.
        WrongSettingError: VOCERO_ROLLBACK_DIR, or the folder of secrets, cannot be used.
    """
    given = list(arguments)
    if not given or (given[0] not in COMMANDS and given[0] not in {"-h", "--help"}):
        given = ["plan", *given]
    found = vars(_parser().parse_args(given))
    targets = [value for value in (found.get("target"), found.get("to"), found.get("release")) if value is not None]
    if len(targets) > 1:
        raise UsageError("Give one target: a revision, -N, or --release.")
    target = found.get("target") or found.get("to")
    release = found.get("release")
    return Options(
        command=found["command"],
        target=target if target or release else "-1",
        release=release,
        run=found.get("run"),
        backup=found.get("backup"),
        allowed=read_allowed(found.get("allow_data_loss") or []),
        yes=found.get("yes", False),
        as_json=found["json"],
        uses_redis=not found["no_redis"],
        drain_seconds=found.get("drain_seconds", DRAIN_SECONDS),
        wait_seconds=found.get("wait_seconds", WAIT_SECONDS),
        service_url=found.get("service_url"),
        pg_bin=found.get("pg_bin"),
        journal_folder=_journal_folder(found["journal_dir"]),
        given_folder=found["journal_dir"],
    )


def _journal_folder(given: Path | None) -> Path:
    if given is not None:
        return given.absolute()
    try:
        return ROOT / load(RollbackSettings).folder
    except SettingsError as exc:
        raise WrongSettingError(str(exc)) from None


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description=DESCRIPTION, formatter_class=form, epilog=f"exit codes:\n{table()}"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = commands.add_parser(name, formatter_class=form, epilog=f"exit codes:\n{table()}")
        _add_common(command)
        if name in {"plan", "apply"}:
            _add_target(command)
        if name in {"apply", "restore"}:
            command.add_argument("--yes", action="store_true", help="do not ask")
        if name == "restore":
            command.add_argument("run", nargs="?", help="the rollback whose backup is meant (the last one)")
            command.add_argument("--backup", type=Path, metavar="FILE", help="another backup: pg_dump -Fc, or SQLite's")
        if name in {"plan", "apply", "restore"}:
            _add_terms(command)
        if name in {"plan", "apply", "restore", "resume"}:
            _add_service_url(command)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="for machines, on standard output")
    command.add_argument("--journal-dir", type=Path, metavar="DIR", help="journals and backups (VOCERO_ROLLBACK_DIR)")
    command.add_argument("--pg-bin", type=Path, metavar="DIR", help="where pg_dump, pg_restore and psql are (the path)")
    command.add_argument("--no-redis", action="store_true", help="leave Redis alone: the service was stopped by hand")


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument("target", nargs="?", metavar="REV", help="a revision, or -N for N steps back (-1)")
    command.add_argument("--to", metavar="REV", help="the same")
    command.add_argument("--release", metavar="X", help="the schema that release X had, as its deployment recorded it")


def _add_terms(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--allow-data-loss", action="append", metavar="TABLE:ROWS", help="so many rows may go; once for each table"
    )
    command.add_argument(
        "--drain-seconds", type=_seconds, default=DRAIN_SECONDS, metavar="N",
        help="conversations may go on for so long (%(default)g)",
    )  # fmt: skip
    command.add_argument(
        "--wait-seconds", type=_seconds, default=WAIT_SECONDS, metavar="N",
        help="wait so long for whoever writes to the database (%(default)g)",
    )  # fmt: skip


def _add_service_url(command: argparse.ArgumentParser) -> None:
    command.add_argument("--service-url", metavar="URL", help="ask its /readyz before it is opened again ('': do not)")


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be from 0 to {LONGEST_SECONDS:g}")
    return number


def is_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
