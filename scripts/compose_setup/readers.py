"""Who reads which secret: one folder (a volume) for each reader, which has what that one needs and nothing else.

The key decision: the users' numbers stand here and in docker-compose.yml (`user:`), so files can belong to their reader
alone whatever an image calls its user. A test holds both to each other.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.compose_setup.store import write_file

SHARED_FOLDER_MODE = 0o2750
"""What its owner writes there, its group may read: files get the folder's group."""

_FOLDER_MODE = 0o500
_FILE_MODE = 0o400


@dataclass(frozen=True)
class Reader:
    """A service of Compose, and the numbers of the user and group that it runs as."""

    name: str
    user: int
    group: int


VOCERO = Reader("vocero", 10001, 10001)  # service and dashboard
OWNER = Reader("owner", 10001, 10001)  # migrations and the scripts
VALKEY = Reader("valkey", 999, 1000)
POSTGRES = Reader("postgres", 999, 999)
VAULT = Reader("vault", 100, 1000)
FRONT = Reader("front", 101, 101)
GRAFANA = Reader("grafana", 472, 0)
ALERTMANAGER = Reader("alertmanager", 65534, 65534)
APPROLE = Reader("approle", VAULT.user, VOCERO.group)  # Vault's container writes, Vocero reads
READERS = (VOCERO, OWNER, VALKEY, POSTGRES, VAULT, FRONT, GRAFANA, ALERTMANAGER)


def hand_over(folder: Path, reader: Reader, files: Mapping[str, str]) -> list[str]:
    """Make `folder` have these files for that reader and no others; the names of those that changed."""
    changed = [
        name
        for name, value in files.items()
        if write_file(folder / name, value, mode=_FILE_MODE, owner=(reader.user, reader.group))
    ]
    for stale in sorted(set(folder.iterdir()) - {folder / name for name in files}):
        stale.unlink()
        changed.append(stale.name)
    own(folder, reader, _FOLDER_MODE)
    return changed


def own(folder: Path, reader: Reader, mode: int = 0o700) -> None:
    """Give the folder to its reader, as what will be written there by it (a volume that is new belongs to root)."""
    os.chown(folder, reader.user, reader.group)
    folder.chmod(mode)
    if folder.stat().st_mode & 0o7777 != mode:
        raise PermissionError(errno.EPERM, f"it could not be given the mode {mode:o}", str(folder))
