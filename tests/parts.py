"""The parts of a test run that a machine may lack: a test that needs one skips with the reason, or fails in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def require(part: str, found: object, remedy: str = "") -> None:
    """Go on if `found` is true; else skip the test, or fail it when CI=true, naming the part and the remedy."""
    if not found:
        lack(part, remedy)


def lack(part: str, remedy: str = "") -> NoReturn:
    """Skip the test (fail it when CI=true): `part` is missing."""
    reason = f"{part} is missing" + (f": {remedy}" if remedy else "")
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def require_module(name: str, extra: str) -> None:
    """Need a Python package of one of our extras."""
    require(f"the Python package {name}", importlib.util.find_spec(name), f"pip install -e .[{extra}]")


def require_program(*names: str, remedy: str) -> Path:
    """Need a program; the first of `names` that is on the path is the result."""
    for name in names:
        found = shutil.which(name)
        if found:
            return Path(found)
    lack(names[0], remedy)
