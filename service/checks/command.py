"""What every `check` of a command line has in common: its options, how findings are told, and its exit code."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from service.checks.finding import Finding, State, worst

DONE, FAILED = 0, 1
LONGEST_WAIT = 3600.0
_PAUSE_SECONDS = 1.0


def add_options(parser: argparse.ArgumentParser, *, waits: bool = True) -> None:
    """The options; `waits`: it may try again."""
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument("--env-file", type=Path, help="fill what the environment leaves open, as `make run` does")
    if waits:
        parser.add_argument(
            "--wait", type=_seconds, default=0.0, metavar="SECONDS", help="try again for so long while something fails"
        )


def tell_findings(look: Callable[[], list[Finding]], *, wait_seconds: float, as_json: bool) -> int:
    """Look, again for `wait_seconds` while something fails, and tell what was found; the result is the exit code."""
    until = time.monotonic() + wait_seconds
    findings = look()
    while worst(findings) is State.FAILED and time.monotonic() < until:
        time.sleep(_PAUSE_SECONDS)
        findings = look()
    state = worst(findings)
    if as_json:
        print(json.dumps({"state": state, "findings": [_fields(finding) for finding in findings]}, indent=2))  # noqa: T201
    else:
        for finding in findings:
            print(_line(finding))  # noqa: T201 (a command line)
    return FAILED if state is State.FAILED else DONE


def _fields(finding: Finding) -> dict[str, str]:
    return {"what": finding.what, "state": finding.state, "said": finding.said, "remedy": finding.remedy}


def _line(finding: Finding) -> str:
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    return f"{finding.state:<7}  {finding.what:<13}  {finding.said}{remedy}"


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= LONGEST_WAIT:
        raise argparse.ArgumentTypeError(f"must be from 0 to {LONGEST_WAIT:g}")
    return number
