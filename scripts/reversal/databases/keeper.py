"""What a rollback asks of a database, whichever kind it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from scripts.reversal.contents import Contents

Tell = Callable[[str], None]
"""Shows a person what is being waited for."""


@dataclass(frozen=True)
class Facts:
    """What a first look tells: `revision` is that of the schema, `size` all bytes on the disk, in `place`."""

    kind: str
    version: str
    place: str
    size: int
    revision: str


@dataclass(frozen=True)
class Blocker:
    """Somebody who is in the way: `what` in words, and the command that would end it, if there is one."""

    what: str
    remedy: str = ""


class Keeper(Protocol):
    """One database. Methods raise what `failures.EXPECTED` lists when it does not answer or says no.

    `place` names it without its password. A `url` argument is that of this database or of a scratch one.
    """

    place: str
    url: str

    def look(self) -> Facts:
        """Read the revision and so on.

        Raises:
            RefusedError: it cannot be reached, or has no schema of ours.
        """

    def count_rows(self) -> dict[str, int]:
        """The rows of every table."""

    def count_values(self, table: str, column: str) -> int:
        """The rows of `table` that have something in `column`."""

    def refusals(self, *, needs: int, folder: Path) -> list[str]:
        """Why a rollback could not be carried out here; `needs` are the bytes that have to be free in `folder`."""

    def blockers(self) -> list[Blocker]:
        """Who would be in the way now."""

    def lock(self) -> None:
        """Take the lock that keeps a second rollback out; it ends with `close` or with this process.

        Raises:
            LockHeldError: somebody else has it.
        """

    def hold_writers(self, seconds: float, tell: Tell) -> None:
        """Wait until nobody writes, `seconds` at most, and let nobody begin to until `let_writers`. Readers go on.

        Raises:
            StepError: somebody still wrote, or held up whoever changes the schema.
        """

    def check_hold(self) -> None:
        """Make sure that the lock and the hold on writers are still ours.

        Raises:
            StepError: one of them was lost, so somebody may have written since.
        """

    def let_writers(self) -> None:
        """Let writers go on; does nothing if they may."""

    def read_schema(self, url: str) -> tuple[str, ...]:
        """Its schema, in lines (`Contents.schema`)."""

    def read_contents(self, url: str) -> Contents:
        """Everything that is in it, as of one moment."""

    def back_up(self, path: Path, tell: Tell) -> None:
        """Write a backup to `path`, all of it or none."""

    def make_scratch(self, name: str) -> str:
        """Make an empty database beside this one, in the place of a former one of the same name; its URL."""

    def drop_scratch(self, name: str) -> None:
        """Take it away again; does nothing if there is none."""

    def restore(self, path: Path, url: str, tell: Tell) -> None:
        """Put the backup at `path` in the place of what is at `url`, all of it or nothing."""

    def query(self, url: str, statement: str, parameters: Mapping[str, object]) -> list[Sequence[object]]:
        """The rows of a statement with named parameters (`:name`)."""

    def close(self) -> None:
        """Let go of everything, the lock too."""
