from __future__ import annotations

import json
from pathlib import Path

from soak.autobahn_report import Report, ranges, read_report

OK = ("OK", "OK")


def test_a_report_is_read_as_autobahn_writes_it(tmp_path: Path) -> None:
    found = {"1.1.1": {"behavior": "OK", "behaviorClose": "UNCLEAN", "duration": 2, "reportfile": "x.json"}}
    (tmp_path / "index.json").write_text(json.dumps({"vocero": found, "other": {}}))
    assert read_report(tmp_path, "vocero").behaviours == {"1.1.1": ("OK", "UNCLEAN")}


def test_a_report_that_was_never_written_is_a_failure_and_no_pass(tmp_path: Path) -> None:
    assert read_report(tmp_path, "vocero").failures("server", 301) == ["server: 0 of 301 cases are in the report"]


def test_a_case_that_did_not_run_is_a_failure() -> None:
    assert Report({"1.1.1": OK}).failures("server", 2) == ["server: 1 of 2 cases are in the report"]


def test_good_cases_are_no_failures() -> None:
    report = Report({"1.1.1": OK, "7.1.6": ("INFORMATIONAL", "INFORMATIONAL"), "6.4.1": ("NON-STRICT", "OK")})
    assert report.failures("server", 3) == []
    assert report.counts == {"OK": 1, "INFORMATIONAL": 1, "NON-STRICT": 1}


def test_a_bad_case_and_a_bad_close_are_failures_in_the_order_of_the_cases() -> None:
    report = Report({"10.1.1": ("FAILED", "OK"), "2.1": ("OK", "WRONG CODE"), "1.1.1": OK})
    assert report.failures("client", 3) == [
        "client: case 2.1 is OK, its close WRONG CODE",
        "client: case 10.1.1 is FAILED, its close OK",
    ]


def test_a_case_that_is_non_strict_for_no_reason_of_ours_is_a_failure() -> None:
    report = Report({"5.19": ("NON-STRICT", "OK"), "5.20": ("NON-STRICT", "OK"), "3.2": ("NON-STRICT", "OK")})
    assert report.failures("server", 3) == ["server: 5.19 to 5.20 should be strict"]


def test_cases_that_follow_each_other_are_written_as_ranges() -> None:
    assert ranges(["3.2", "3.3", "4.1.3", "4.1.5", "4.2.6", "6.4.1"]) == "3.2 to 3.3, 4.1.3, 4.1.5, 4.2.6, 6.4.1"
