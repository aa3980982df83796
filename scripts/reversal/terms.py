"""What was agreed on when a rollback began: it stands in the journal's first entry, and a `resume` keeps to it."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DRAIN_SECONDS = 30.0
WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Terms:
    """`place` is the database without its password. `allowed` says how many rows of a table (or values of a column,
    as TABLE.COLUMN) may be lost, `losses` how many were planned. `backup` is a file to restore, if that is all that
    is wanted. Times are in seconds.
    """

    id: str
    place: str
    current: str
    target: str
    actor: str
    version: str
    losses: Mapping[str, int]
    allowed: Mapping[str, int]
    drain_seconds: float = DRAIN_SECONDS
    wait_seconds: float = WAIT_SECONDS
    uses_redis: bool = True
    service_url: str | None = None
    backup: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As the journal keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Terms:
        """What `as_json` gave; what a later version added is left out."""
        return cls(**{name: value for name, value in kept.items() if name in cls.__dataclass_fields__})

    @property
    def reason(self) -> str:
        """What operators are told while the service is closed."""
        what = f"rollback of the database from {self.current} to {self.target}"
        return what if self.backup is None else "restore of the database from a backup"


def this_operator() -> str:
    """Who runs this, as user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user that has no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
