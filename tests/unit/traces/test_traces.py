"""Where no traces are wanted nothing of them costs anything; where they cannot be had the log says so."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from service.config import Settings
from service.traces import ConversationSpan, Span, Traces, span_id_of, trace_id_of
from tests.servers import ROOT, clean_environment


def span() -> ConversationSpan:
    return ConversationSpan(
        conversation_id="conv_1",
        started_at=1.0,
        ended_at=2.0,
        outcome="ended",
        agent_id="a",
        by="client",
        reason="normal",
    )


class Kept:
    """An exporter that keeps what it gets, and can fail."""

    def __init__(self, *_: str) -> None:
        self.spans: list[Span] = []
        self.is_closed = False

    def send(self, spans: Sequence[Span]) -> bool:
        self.spans += spans
        return True

    def close(self) -> None:
        self.is_closed = True


def test_ids_are_the_same_everywhere_and_differ_for_conversations_and_legs() -> None:
    assert trace_id_of("conv_1") == hashlib.sha256(b"conv_1").hexdigest()[:32]
    ids = {span_id_of(name, leg) for name in ("conv_1", "conv_2") for leg in (None, 1, 2)}
    assert {len(each) for each in ids} == {16}
    assert len(ids) == 6


def test_what_was_told_before_the_end_is_sent_at_the_end() -> None:
    exporter = Kept()
    traces = Traces("http://collector/v1/traces", make_exporter=lambda *_: exporter)
    traces.start()
    for _ in range(120):
        traces.record(span())
    traces.close(10.0)
    assert (len(exporter.spans), exporter.is_closed, traces.is_on) == (120, True, False)


def test_without_an_address_nothing_of_opentelemetry_is_imported() -> None:
    program = (
        "import sys; from service.traces import Traces;"
        "t = Traces(None); t.start(); t.record(None); t.close();"
        "print(t.is_on, [name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert ran.stdout.strip() == "False []"


def test_a_missing_package_is_named_once_with_the_extra_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "service.trace_export", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    traces = Traces("http://collector/v1/traces")
    with capture_logs() as lines:
        traces.start()
        traces.record(span())
        traces.close()
    assert [(line["event"], line["install"]) for line in lines] == [("traces are not sent", "vocero[traces]")]


def test_a_variable_that_the_sdk_cannot_read_is_no_reason_not_to_start() -> None:
    def refuse(*_: str) -> Kept:
        raise RuntimeError("what it says may quote a header")

    traces = Traces("http://collector/v1/traces", make_exporter=refuse)
    with capture_logs() as lines:
        traces.start()
        traces.record(span())
        traces.close()
    assert lines == [{"event": "traces are not sent", "error": "RuntimeError", "log_level": "warning"}]


@pytest.mark.parametrize(
    ("variables", "endpoint"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x"},
            "http://t/x",
        ),
    ],
)
def test_the_address_is_the_one_that_the_standard_says(
    variables: dict[str, str], endpoint: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings().traces_endpoint == endpoint  # type: ignore[call-arg]
