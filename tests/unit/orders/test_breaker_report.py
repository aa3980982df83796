"""What is told of a breaker: in words of closed sets, in times of the wall clock, and readable by other versions."""

from __future__ import annotations

import dataclasses
import time

import pytest

from service.elevenlabs.fault_actions import fault_of
from service.errors import UpstreamQuotaError, UpstreamUnavailableError
from service.fallback.breaker import Breaker
from service.fallback.breaker_report import BreakerNotes, BreakerReport, words_of
from service.fallback.breaker_terms import BreakerTerms


def test_a_fault_is_told_by_its_cause_its_code_and_whose_it_is_but_never_by_its_message() -> None:
    down = UpstreamUnavailableError("what somebody said", code="http_500", status=500)
    assert words_of(fault_of(down)) == "server_error: http_500 (provider)"
    strange = UpstreamQuotaError("what somebody said", code="<b>my name</b> " + "x" * 500)
    assert words_of(fault_of(strange)) == f"quota: _b_my_name__b__{'x' * 45} (quota)"


def test_an_open_breaker_is_told_with_its_last_fault_its_last_probe_and_the_next_one() -> None:
    breaker, notes = Breaker(BreakerTerms(open_seconds=15.0)), BreakerNotes()
    quiet = notes.report("elevenlabs", "speech", breaker.status)
    assert (quiet.state, quiet.calls, quiet.failure_share, quiet.opened_at, quiet.last_fault) == (
        "closed", 0, None, None, None,
    )  # fmt: skip
    breaker.succeeded()
    assert notes.report("elevenlabs", "speech", breaker.status).failure_share == 0
    before = time.time()
    for _ in range(5):
        notes.note_fault(fault_of(UpstreamUnavailableError("It is down.", code="http_500", status=500)))
        breaker.failed()
    notes.note_probe("bad: server_error: http_500 (provider)")
    report = notes.report("elevenlabs", "speech", breaker.status)
    assert (report.state, report.last_fault) == ("open", "server_error: http_500 (provider)")
    assert report.last_probe == "bad: server_error: http_500 (provider)"
    after = time.time()
    assert report.last_fault_at is not None
    assert report.last_probe_at is not None
    assert report.opened_at is not None
    assert report.probe_at is not None
    assert before <= report.last_fault_at <= report.last_probe_at <= after
    assert before - 0.01 <= report.opened_at <= after
    assert report.probe_at - report.opened_at == pytest.approx(15.0, abs=0.1)


def test_another_versions_report_is_read_as_far_as_it_is_known() -> None:
    report = BreakerReport("elevenlabs", "speech", "closed", calls=3)
    assert BreakerReport.from_dict({**dataclasses.asdict(report), "mood": "fine"}) == report
    assert BreakerReport.from_dict({"provider": "p", "capability": "c", "state": "open"}).calls == 0
