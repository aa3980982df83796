"""The virtualenv that the Autobahn test suite runs in, made once and kept in `.vocero/soak`.

The key decision: Python 2.7 lives only there, as a program that is run. virtualenv 20.21 is the last one that makes
environments for it; it is unpacked beside, so that our own `.venv` does not see its old dependencies.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from soak.python27 import find_python27
from soak.result import MissingPartError
from tests.servers import ROOT

REQUIREMENTS = Path(__file__).with_name("autobahn_requirements.txt")
VIRTUALENV = ("virtualenv==20.21.1", "distlib==0.4.4", "filelock==3.32.7", "platformdirs==3.11.0")
STEP_SECONDS = 900
LAST_LINES = 8
_SHOWN = ("Collecting", "Building wheel", "Installing collected")


def autobahn_program(folder: Path = ROOT / ".vocero" / "soak") -> Path:
    """The path of `wstest`; installs it below `folder` the first time, in about a minute.

    Raises:
        MissingPartError: there is no Python 2.7, or a package cannot be had.
    """
    home = folder / f"autobahn-{_fingerprint()}"
    program = home / "bin" / "wstest"
    if (home / "complete").exists():
        return program
    python = find_python27()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    tool = folder / "virtualenv"
    _step(f"1/3 {VIRTUALENV[0]}", [sys.executable, "-m", "pip", "install", "-t", str(tool), "--upgrade", *VIRTUALENV])
    environment = {**os.environ, "PYTHONPATH": str(tool)}
    _step(
        f"2/3 environment of {python}", [sys.executable, "-m", "virtualenv", "-p", str(python), str(home)], environment
    )
    install = [str(home / "bin" / "pip"), "install", "--no-deps", "-r", str(REQUIREMENTS)]
    _step("3/3 the Autobahn test suite (about a minute, once; some parts are compiled)", install)
    (home / "complete").touch()
    return program


def _fingerprint() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]


def _step(what: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    print(f"Preparing {what}", flush=True)
    lines: list[str] = []
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if line.startswith(_SHOWN):
                print(f"  {line.rstrip()[:100]}", flush=True)
        code = process.wait(STEP_SECONDS)
    if code:
        end = "\n  | ".join(lines[-LAST_LINES:])
        raise MissingPartError(f"{what} could not be installed (exit code {code}):\n  | {end}")
