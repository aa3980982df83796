"""The one place where everything that setup has made is kept: a folder that nobody else reads.

The key decision: what is there stays as it is. So setup can run at every start, and what readers have (`readers.py`)
are copies that are written again from here whenever they differ.
"""

from __future__ import annotations

import os
import secrets
import string
import tempfile
from collections.abc import Callable
from pathlib import Path

PASSWORD_CHARACTERS = string.ascii_letters + string.digits  # no URL, shell or SQL has to quote them
PASSWORD_LENGTH = 40
_READ_ONLY = 0o400


class Store:
    """The folder, which must exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.made: list[str] = []

    def get(self, name: str) -> str | None:
        """What is kept under this name; None if nothing is."""
        try:
            return (self._folder / name).read_text()
        except FileNotFoundError:
            return None

    def put(self, name: str, value: str) -> None:
        """Keep something, in place of what was kept before."""
        write_file(self._folder / name, value, mode=_READ_ONLY)

    def forget(self, name: str) -> None:
        """Keep it no more."""
        (self._folder / name).unlink(missing_ok=True)

    def get_or_make(self, name: str, make: Callable[[], str]) -> str:
        """What is kept, or else what `make` gives, which is kept from now on."""
        kept = self.get(name)
        if kept is None:
            kept = make()
            self.put(name, kept)
            self.made.append(name)
        return kept

    def password(self, name: str) -> str:
        """The password of this name: 238 bits, made once."""
        return self.get_or_make(name, _password)


def write_file(path: Path, value: str, *, mode: int, owner: tuple[int, int] | None = None) -> bool:
    """Write the file in one step, if it is not there like that already; true if it was written.

    `owner` is a user's and a group's number. Who reads the file sees the old one or the new one, whole.
    """
    if _is_like_that(path, value, mode, owner):
        return False
    descriptor, new = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(file.fileno(), mode)
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        Path(new).replace(path)
    except BaseException:  # whatever ended it, no half-written file stays
        Path(new).unlink(missing_ok=True)
        raise
    return True


def _is_like_that(path: Path, value: str, mode: int, owner: tuple[int, int] | None) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    if found.st_mode & 0o777 != mode or (owner is not None and (found.st_uid, found.st_gid) != owner):
        return False
    return path.read_text() == value


def _password() -> str:
    return "".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(PASSWORD_LENGTH))
