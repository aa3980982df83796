"""What every step of a rollback works with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from scripts.reversal.chain import Chain
from scripts.reversal.closing import Closing
from scripts.reversal.databases import Keeper
from scripts.reversal.runs import Run
from scripts.reversal.terms import Terms

Found = Mapping[str, Any]
"""What a step found out: JSON, for the journal and for the steps behind it."""

StepFunction = Callable[["Work"], "Found | None"]


@dataclass
class Work:
    """The database, Redis (None: not wanted), the journal, and what the steps so far have found out.

    `steps` is another folder of migrations than ours. `may_have_committed`: this process has sent the downgrade off;
    `downgraded_here`: it was told that it is committed, so nobody can have written since.
    """

    terms: Terms
    run: Run
    keeper: Keeper
    chain: Chain
    store: redis.Redis | None
    tell: Callable[[str], None]
    steps: Path | None = None
    found: dict[str, Found] = field(default_factory=dict)
    may_have_committed: bool = False
    downgraded_here: bool = False
    closing: Closing | None = None

    def __post_init__(self) -> None:
        if self.store is not None:
            self.closing = Closing(self.store, self.terms)

    @property
    def backup(self) -> Path:
        """Where the backup of this rollback lies."""
        return self.own_backup if self.terms.backup is None else Path(self.terms.backup)

    @property
    def own_backup(self) -> Path:
        """Where the backup lies that this rollback makes."""
        return self.run.folder / "before.backup"

    def note(self, warning: str) -> None:
        """Remember what a person should know although nothing failed."""
        self.run.journal.add("noted", text=warning)


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
