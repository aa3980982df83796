"""`make test`: get the parts that do not come as wheels, then run pytest.

The key decision: CI's machines are shared, and among thousands of tests with browsers, processes and speech one now and
then loses a race with a neighbour. So under CI what failed beside others is asked once more alone, and only that: it
must pass there, it is named, and more than a few failures are a verdict at once. At a developer's desk red stays red.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from scripts.parts_of_tests import ROOT, get_parts

# Many tests wait, for a server's start or for speech at its own pace: four processes keep two cores busy.
PARALLEL = ("--numprocesses", "4", "--dist", "worksteal")
SLOWEST = ("--durations", "40", "--durations-min", "8")
AGAIN_AT_MOST = 3
TESTS_FAILED = 1  # https://docs.pytest.org/en/stable/reference/exit-codes.html


def main(arguments: list[str]) -> int:
    """Prepare and run; the result is pytest's exit code."""
    get_parts()
    return run([*PARALLEL, *SLOWEST, *arguments], ROOT, ask_again=os.environ.get("CI") == "true")


def run(arguments: list[str], folder: Path, *, ask_again: bool) -> int:
    """Run pytest in `folder`; returns its exit code, with `ask_again` that of the second run if there was one."""
    code = _pytest(arguments, folder)
    if code != TESTS_FAILED or not ask_again:
        return code
    failed = _last_failed(folder)
    if not 0 < len(failed) <= AGAIN_AT_MOST:
        return code
    print(f"\nOnce more, alone: {', '.join(failed)}", flush=True)
    code = _pytest(failed, folder)
    if code == 0:
        print(f"Passed alone, failed beside others, and wants mending: {', '.join(failed)}", flush=True)
    return code


def _pytest(arguments: list[str], folder: Path) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=folder, check=False).returncode


def _last_failed(folder: Path) -> list[str]:
    """What pytest notes for `--last-failed`. In a fresh clone that is this run, and nothing older."""
    noted = folder / ".pytest_cache" / "v" / "cache" / "lastfailed"
    return sorted(json.loads(noted.read_text())) if noted.exists() else []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
