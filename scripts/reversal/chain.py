"""The steps of the schema that this code knows, and the way down from one to another.

The key decision: only a straight chain is walked. Where revisions branch or are merged, which one came last is a matter
of opinion, and opinions are for daylight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from alembic.util import CommandError

from migrations import runner
from scripts.reversal.failures import NothingToDoError, RefusedError, UsageError

_BACK = re.compile(r"-([1-9]\d{0,3})")


@dataclass(frozen=True)
class Revision:
    """One step. `loses` are the tables and `loses_columns` the columns whose content its downgrade throws away."""

    name: str
    below: str | None
    headline: str
    warning: str
    loses: tuple[str, ...]
    loses_columns: Mapping[str, tuple[str, ...]]
    is_irreversible: bool


class Chain:
    """The revisions by name; `head` is the newest."""

    def __init__(self, revisions: Mapping[str, Revision], head: str) -> None:
        self._revisions = revisions
        self.head = head

    def resolve(self, wanted: str, current: str) -> str:
        """The name of the revision that `wanted` means: `-N` steps below `current`, a name, or its beginning.

        Raises:
            RefusedError: there is no such revision, or `current` itself is unknown to this code.
            UsageError: it means an empty database.
        """
        self._check_known(current)
        if wanted == "base":
            raise UsageError("`base` would empty the database, which is no rollback: see python -m migrations --help.")
        back = _BACK.fullmatch(wanted)
        if back is not None:
            return self._count_down(current, int(back[1]))
        if wanted in self._revisions:
            return wanted
        found = [name for name in self._revisions if name.startswith(wanted)] if len(wanted) >= 4 else []
        if len(found) == 1:
            return found[0]
        known = ", ".join(sorted(self._revisions))
        raise RefusedError(f"There is no revision {wanted!r}; this code knows {known}.")

    def way_down(self, current: str, target: str) -> tuple[Revision, ...]:
        """The revisions to undo, the first one first.

        Raises:
            RefusedError: `current` is unknown to this code, or `target` does not lie below it.
            NothingToDoError: the database is there already.
        """
        self._check_known(current)
        if current == target:
            raise NothingToDoError(f"The database has schema {target} already.")
        way = self._below(current, target)
        if way is None:
            raise RefusedError(
                f"Revision {target} is ahead of the database, which has {current}:"
                f" that is an upgrade (python -m migrations upgrade {target})."
            )
        return way

    def _check_known(self, current: str) -> None:
        if current not in self._revisions:
            raise RefusedError(
                f"The database has schema {current}, which this code does not know (its newest is {self.head}):"
                " run the rollback with the release that made it."
            )

    def _below(self, current: str, target: str) -> tuple[Revision, ...] | None:
        way: list[Revision] = []
        at: str | None = current
        while at is not None and at != target:
            way.append(self._revisions[at])
            at = self._revisions[at].below
        return tuple(way) if at == target else None

    def _count_down(self, current: str, steps: int) -> str:
        at: str | None = current
        for _ in range(steps):
            if at is None or at not in self._revisions:
                break
            at = self._revisions[at].below
        if at is None or at not in self._revisions:
            raise RefusedError(f"There are no {steps} revisions to go back from {current}.")
        return at


def read_chain(steps: Path | None = None) -> Chain:
    """The chain on this disk; nothing is asked of the database.

    Raises:
        RefusedError: it is none, or a file in it cannot be read.
    """
    try:
        directory = ScriptDirectory.from_config(runner.configuration(None, steps))
        heads = directory.get_heads()
        scripts = list(directory.walk_revisions())
    except (CommandError, SyntaxError, ImportError, KeyError) as exc:
        raise RefusedError(f"The migrations cannot be read: {exc}") from None
    if len(heads) != 1:
        raise RefusedError(f"The migrations have {len(heads)} heads ({', '.join(sorted(heads))}); there has to be one.")
    return Chain({script.revision: _revision(script) for script in scripts}, heads[0])


def _revision(script: Any) -> Revision:
    if not isinstance(script.down_revision, str | None):
        raise RefusedError(f"Revision {script.revision} merges two branches; a rollback across it is for daylight.")
    paragraphs = [" ".join(part.split()) for part in (script.longdoc or "").split("\n\n") if part.strip()]
    return Revision(
        name=script.revision,
        below=script.down_revision,
        headline=paragraphs[0] if paragraphs else "",
        warning=paragraphs[1] if len(paragraphs) > 1 else "",
        loses=tuple(getattr(script.module, "LOSES", ())),
        loses_columns={table: tuple(names) for table, names in getattr(script.module, "LOSES_COLUMNS", {}).items()},
        is_irreversible=bool(getattr(script.module, "IRREVERSIBLE", False)),
    )
