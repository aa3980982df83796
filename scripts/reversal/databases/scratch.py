"""Empty databases beside the one that a rollback is about, for as long as a check needs one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from scripts.reversal.databases.keeper import Keeper
from scripts.reversal.failures import EXPECTED


@contextmanager
def scratch_database(keeper: Keeper, purpose: str) -> Iterator[str]:
    """The URL of an empty database that goes away with the block.

    The name depends on the database and the purpose alone, so what a crash left is replaced by the next one.
    """
    name = f"vocero_check_{hashlib.sha256(keeper.place.encode()).hexdigest()[:10]}_{purpose}"
    try:
        yield keeper.make_scratch(name)
    except BaseException:
        with suppress(*EXPECTED):  # what went wrong is what counts
            keeper.drop_scratch(name)
        raise
    keeper.drop_scratch(name)
