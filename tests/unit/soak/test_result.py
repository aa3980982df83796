from __future__ import annotations

from pathlib import Path

import pytest

from soak import __main__ as command
from soak.result import MissingPartError, Result, summary
from soak.service_log import failures_in


def lacking(_: object) -> Result:
    raise MissingPartError("There is no such thing: install it.")


def broken(_: object) -> Result:
    return Result("broken", 1.0, failures=["something was lost"])


def fine(_: object) -> Result:
    return Result("fine", 1.0, rows=[("what", "value"), ("frames", "10")])


@pytest.fixture
def suites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "SUITES", {"fine": fine, "broken": broken, "lacking": lacking})
    monkeypatch.delenv("CI", raising=False)


@pytest.mark.usefixtures("suites")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["fine"], 0), (["broken"], 1), ([], 1), (["fine", "lacking"], 0), (["lacking", "--strict"], 1)],
)
def test_the_exit_code_tells_whether_a_suite_failed(arguments: list[str], code: int) -> None:
    assert command.main(arguments) == code


@pytest.mark.usefixtures("suites")
def test_what_is_missing_is_a_failure_in_continuous_integration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert command.main(["lacking"]) == 1


@pytest.mark.usefixtures("suites")
def test_a_skip_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    command.main(["lacking"])
    assert "Skipped: There is no such thing: install it." in capsys.readouterr().out


def test_the_summary_has_a_line_for_each_suite() -> None:
    lines = summary([fine(None), broken(None), Result("absent", 0.0, skipped="no Python 2.7")])
    assert [line.split("|")[2].strip() for line in lines[2:]] == ["passed", "FAILED", "skipped"]


def test_what_went_wrong_stands_below_the_table() -> None:
    assert broken(None).lines() == ["  - something was lost"]
    assert fine(None).lines()[-1] == "| frames | 10    |"


def test_a_traceback_in_the_services_log_is_a_failure(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    log.write_text('{"event": "conversation ended"}\n')
    assert failures_in(log) == []
    log.write_text('{"event": "x"}\nTraceback (most recent call last):\n  File "relay.py"\nKeyError: 1\n')
    assert "KeyError: 1" in failures_in(log)[0]
