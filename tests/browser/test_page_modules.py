"""The page's pure modules, tested by Node's own test runner."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.parts import require_program

MODULES = Path(__file__).with_name("modules")


def test_the_pages_pure_modules_pass_their_own_tests() -> None:
    node = require_program("node", remedy="apt-get install nodejs")
    tests = sorted(str(path) for path in MODULES.glob("*.test.mjs"))
    assert tests
    run = subprocess.run([node, "--test", *tests], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
