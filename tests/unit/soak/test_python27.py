from __future__ import annotations

from pathlib import Path

import pytest

from soak.python27 import HOW_TO_GET, find_python27, is_python27
from soak.result import MissingPartError


def program(path: Path, said: str, code: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_the_one_that_is_named_is_taken_before_all_others(tmp_path: Path) -> None:
    named, other = program(tmp_path / "named", "2.7"), program(tmp_path / "bin" / "python2.7", "2.7")
    assert find_python27({"PYTHON27": str(named), "PATH": str(other.parent)}) == named


def test_one_that_is_named_and_does_not_run_is_told_instead_of_taking_another(tmp_path: Path) -> None:
    other = program(tmp_path / "bin" / "python2.7", "2.7")
    with pytest.raises(MissingPartError, match=r"PYTHON27 names .*nothing"):
        find_python27({"PYTHON27": str(tmp_path / "nothing"), "PATH": str(other.parent)})


def test_a_shim_that_stands_on_the_path_for_no_version_is_passed_over_for_pyenvs_own(tmp_path: Path) -> None:
    shim = program(tmp_path / "shims" / "python2.7", "pyenv: python2.7: command not found", 127)
    real = program(tmp_path / "versions" / "2.7.18" / "bin" / "python2.7", "2.7")
    assert find_python27({"PATH": str(shim.parent), "PYENV_ROOT": str(tmp_path)}) == real


def test_without_any_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(MissingPartError, match=r"pyenv install 2\.7\.18") as raised:
        find_python27({"PATH": str(tmp_path), "HOME": str(tmp_path)})
    assert str(raised.value) == HOW_TO_GET


def test_a_python_3_is_none(tmp_path: Path) -> None:
    assert not is_python27(program(tmp_path / "python2.7", "3.11"))
