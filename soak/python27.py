"""Finding a Python 2.7, the only Python that the Autobahn test suite runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from soak.result import MissingPartError

TRIAL_SECONDS = 10
HOW_TO_GET = (
    "The Autobahn test suite runs only on Python 2.7, and there is none: install one (`pyenv install 2.7.18`), "
    "or name one in the environment variable PYTHON27."
)


def find_python27(environment: Mapping[str, str] = os.environ) -> Path:
    """The first that works of: PYTHON27, `python2.7` on PATH, pyenv's versions.

    Raises:
        MissingPartError: none does.
    """
    named = environment.get("PYTHON27")
    if named:
        if is_python27(Path(named)):
            return Path(named)
        raise MissingPartError(f"PYTHON27 names {named}, which is not a Python 2.7 that runs.")
    for candidate in _candidates(environment):
        if is_python27(candidate):
            return candidate
    raise MissingPartError(HOW_TO_GET)


def is_python27(program: Path) -> bool:
    """Whether it runs, and is one: pyenv's shims are there for versions that are not chosen, too."""
    try:
        done = subprocess.run(
            [program, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            timeout=TRIAL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.stdout.strip() == "2.7"


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    on_path = shutil.which("python2.7", path=environment.get("PATH"))
    if on_path:
        yield Path(on_path)
    home = environment.get("HOME")
    root = environment.get("PYENV_ROOT") or (f"{home}/.pyenv" if home else None)
    if root:
        yield from sorted(Path(root).glob("versions/2.7*/bin/python2.7"), reverse=True)
