"""A file of variables, as `make run` reads it: it fills what the environment leaves open."""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values


def fill_environment(path: Path) -> frozenset[str]:
    """Set the variables of the file (it need not be there) that have no value yet; the result is their names."""
    filled = set()
    for name, value in dotenv_values(path).items():
        if value and not os.environ.get(name):
            os.environ[name] = value
            filled.add(name)
    return frozenset(filled)
