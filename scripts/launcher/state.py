"""The folder of what `make run` keeps: private to the user, used by one launcher at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import ConfigurationError
from service.storage import ApiKeys, Database

DEVELOPMENT_KEY = "development"


@contextmanager
def private_state(state: Path) -> Iterator[None]:
    """Make the folder with what belongs in it, and hold it for the length of the block.

    Raises:
        ConfigurationError: another launcher holds it, or it cannot be written.
    """
    try:
        os.umask(0o077)  # for the children too: the database and Valkey's files are nobody else's business
        for folder in (state, state / "logs", state / "valkey"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
        lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise ConfigurationError(f"VOCERO_STATE_DIR: {state} cannot be used ({exc.strerror}).") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConfigurationError(
            f"VOCERO_STATE_DIR: another `make run` is using {state}. End it, or choose another folder."
        ) from None
    try:
        yield
    finally:
        os.close(lock)  # and with it the lock; a kill -9 lets go of it too


def development_key(database: Database, path: Path) -> str:
    """The API key of this folder's developer: from `path` if the database knows it, else a new one kept there."""
    keys = ApiKeys(database)
    if path.exists():
        kept = path.read_text().strip()
        if keys.verify(kept) is not None:
            return kept
    _, key = keys.create(DEVELOPMENT_KEY)
    path.unlink(missing_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "w") as output:
        output.write(key + "\n")
    return key
