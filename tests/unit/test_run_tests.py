"""What `make test` says under CI when a test fails: who is asked a second time, and who is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.run_tests import AGAIN_AT_MOST, TESTS_FAILED, run

GOOD = "def test_good(): pass\n"
BAD = "def test_bad_{0}(): assert not 'bad'\n"
# It fails the first time, as a test that a neighbour has disturbed.
DISTURBED = """
def test_disturbed():
    from pathlib import Path
    asked = Path(__file__).with_suffix(".asked")
    assert asked.exists() or asked.write_text("once") is None
"""


def outcome(folder: Path, tests: str, *, ask_again: bool = True) -> int:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_made_up.py").write_text(tests)
    return run(["-q", "--numprocesses", "2"], folder, ask_again=ask_again)


def test_one_that_was_disturbed_is_asked_alone_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert outcome(tmp_path, GOOD + DISTURBED) == 0
    printed = capfd.readouterr().out
    assert "Passed alone, failed beside others, and wants mending: test_made_up.py::test_disturbed" in printed
    assert "1 failed, 1 passed" in printed


def test_one_that_fails_alone_too_is_a_failure_though_another_was_only_disturbed(tmp_path: Path) -> None:
    assert outcome(tmp_path, GOOD + DISTURBED + BAD.format(1)) == TESTS_FAILED


def test_many_that_fail_are_a_verdict_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    several = "".join(BAD.format(number) for number in range(AGAIN_AT_MOST))
    assert outcome(tmp_path, DISTURBED + several) == TESTS_FAILED
    assert "Once more" not in capfd.readouterr().out


def test_at_a_developers_desk_red_stays_red(tmp_path: Path) -> None:
    assert outcome(tmp_path, DISTURBED, ask_again=False) == TESTS_FAILED


def test_what_is_no_failure_of_a_test_is_not_asked_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert outcome(tmp_path, "import no_such_module_anywhere\n") != 0
    assert outcome(tmp_path, "") == 5  # no test was found
    assert "Passed alone" not in capfd.readouterr().out
