"""The first stage: what it says on a machine that lacks something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the first stage reads, in a folder of the test's own, so that the real .venv is left alone."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "bootstrap.py", tmp_path / "scripts")
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def bootstrap(checkout: Path, prelude: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the first stage after `prelude`, which takes something away from this Python."""
    code = f"import runpy, sys; sys.argv = ['bootstrap.py', 'local', '-c', 'print(1)']\n{prelude}\n"
    code += f"runpy.run_path({str(checkout / 'scripts' / 'bootstrap.py')!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_the_venv_module_it_names_the_package_to_install(checkout: Path) -> None:
    done = bootstrap(checkout, "sys.modules['ensurepip'] = None")
    assert done.returncode == 1
    assert f"apt-get install python3.{sys.version_info[1]}-venv" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("version", [(3, 8, 2), (3, 10, 13), (3, 14, 0)])
def test_with_no_python_that_fits_it_says_which_ones_do(checkout: Path, version: tuple[int, ...]) -> None:
    done = bootstrap(checkout, f"sys.version_info = {version}", PATH="")
    assert done.returncode == 1
    assert f"Vocero needs Python 3.11 to 3.13; this is Python {version[0]}.{version[1]}" in done.stderr
    assert "Traceback" not in done.stderr


def test_with_an_old_python_it_goes_on_in_a_good_one(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    good = folder / "python3.12"
    good.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "went on with $*"\n')
    good.chmod(0o755)
    done = bootstrap(checkout, "sys.version_info = (3, 9, 1)", PATH=f"{folder}:/bin")
    assert done.stdout == f"went on with {checkout}/scripts/bootstrap.py local -c print(1)\n"
