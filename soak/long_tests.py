"""The tests that `make test` leaves out: second ways through what another test shows there (marked `long`)."""

from __future__ import annotations

import subprocess
import sys
import time

from soak.result import Result
from tests.servers import ROOT

NONE_SELECTED = 5
"""pytest's exit code."""


def run() -> Result:
    """Run them one after the other; what fails is on the screen."""
    begin = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "-m", "long"]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    failures = {0: [], NONE_SELECTED: ["no test is marked as long"]}.get(code, ["some of them failed: see above"])
    return Result("tests", time.monotonic() - begin, failures=failures)
