"""`make test`: get the parts that do not come as wheels, then run pytest."""

from __future__ import annotations

import subprocess
import sys

from scripts.parts_of_tests import ROOT, get_parts

# Many tests wait, for a server's start or for speech at its own pace: four processes keep two cores busy.
PARALLEL = ("--numprocesses", "4", "--dist", "worksteal")
SLOWEST = ("--durations", "40", "--durations-min", "8")


def main(arguments: list[str]) -> int:
    """Prepare and run; the result is pytest's exit code."""
    get_parts()
    command = [sys.executable, "-m", "pytest", *PARALLEL, *SLOWEST, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
