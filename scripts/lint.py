"""`make lint`: every check that needs no running server, all of them even if the first one fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
CHECKS = (
    ("style", ["ruff", "check", "."]),
    ("format", ["ruff", "format", "--check", "."]),
    ("types", ["mypy"]),
    ("layers", ["lint-imports"]),
)


def main() -> int:
    """Run all checks; 1 if any found something."""
    failed = []
    for name, (program, *arguments) in CHECKS:
        print(f"--- {name}: {program} {' '.join(arguments)}", flush=True)
        if subprocess.run([PROGRAMS / program, *arguments], cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    print(f"lint: {'failed: ' + ', '.join(failed) if failed else 'all clean'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
