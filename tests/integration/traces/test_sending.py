"""Spans come to a real collector as they were told, and whatever that one does, nobody who tells them waits."""

from __future__ import annotations

import threading
import time

import pytest
from structlog.testing import capture_logs

from scripts.launcher.waiting import wait_until
from service.metrics_traces import TRACE_SPANS, SpanOutcome
from service.traces import BATCH, MOST_WAITING, Traces, trace_id_of
from tests.integration.traces.collector import LIMIT, Collector
from tests.integration.traces.conftest import BEGUN, CONVERSATION, conversation_span, leg_span, turn_span
from tests.servers import free_port

NEVER_TOLD = {"user_id", "text", "transcript", "audio", "headers", "url"}


def told(outcome: SpanOutcome) -> float:
    return float(TRACE_SPANS.labels(outcome=outcome.value)._value.get())


def send(collector: Collector, *spans, instance: str = "node-1") -> None:
    traces = Traces(collector.endpoint, instance=instance)
    traces.start()
    for span in spans:
        traces.record(span)
    traces.close(LIMIT)


def test_a_conversation_is_a_tree_with_legs_below_it_and_turns_below_these(collector: Collector) -> None:
    send(collector, turn_span(1, 1), leg_span(1), turn_span(2, 2), leg_span(2, provider="local"), conversation_span())
    (root,), legs, turns = collector.named("conversation"), collector.named("leg"), collector.named("turn")
    assert {span.trace_id for span in collector.spans} == {trace_id_of(CONVERSATION)}
    assert root.parent_id == ""
    assert [leg.parent_id for leg in legs] == [root.span_id] * 2
    assert [turn.parent_id for turn in turns] == [leg.span_id for leg in legs]
    assert len({span.span_id for span in collector.spans}) == 5


def test_what_two_workers_tell_of_a_conversation_falls_into_one_trace(collector: Collector) -> None:
    send(collector, turn_span(1, 1), leg_span(1), instance="node-1")
    send(collector, turn_span(1, 2), leg_span(2), conversation_span(), instance="node-2")
    (root,), legs = collector.named("conversation"), collector.named("leg")
    assert [leg.parent_id for leg in legs] == [root.span_id] * 2
    assert len({turn.span_id for turn in collector.named("turn")}) == 2
    assert [leg.resource["service.instance.id"] for leg in legs] == ["node-1", "node-2"]


def test_times_outcomes_and_fields_are_those_that_were_told_and_no_others(collector: Collector) -> None:
    send(
        collector,
        turn_span(1, 1, first_audio_seconds=0.75),
        turn_span(2, 1, first_audio_seconds=None),
        leg_span(1, outcome="failed"),
        conversation_span(outcome="failure", agent_id="a" * 1000),
    )
    answered, failed = collector.named("turn")
    assert answered.started_at == pytest.approx(BEGUN + 2, abs=1e-6)
    assert answered.ended_at == pytest.approx(BEGUN + 5, abs=1e-6)
    assert answered.events == {"first audio": pytest.approx(BEGUN + 2.75, abs=1e-6)}
    assert (answered.is_error, failed.is_error, failed.events) == (False, True, {})
    assert dict(answered.attributes) == {
        "vocero.conversation_id": CONVERSATION,
        "vocero.outcome": "answered",
        "vocero.turn": 1,
        "vocero.leg": 1,
        "vocero.provider": "elevenlabs",
        "vocero.first_audio_seconds": 0.75,
    }
    (leg,) = collector.named("leg")
    assert leg.is_error
    assert (leg.attributes["vocero.cause"], leg.attributes["vocero.leg"]) == ("first", 1)
    (root,) = collector.named("conversation")
    assert root.attributes["vocero.agent_id"] == "a" * 128
    assert (root.attributes["vocero.by"], root.attributes["vocero.reason"]) == ("client", "normal")
    names = {name.removeprefix("vocero.") for span in collector.spans for name in span.attributes}
    assert not names & NEVER_TOLD


def test_the_standard_variables_are_obeyed(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "voice")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    send(collector, conversation_span())
    (root,) = collector.spans
    assert (root.resource["service.name"], root.resource["deployment.environment"]) == ("voice", "test")
    assert collector.headers[0]["authorization"] == "Bearer abc"


def test_it_is_called_vocero_unless_it_is_named(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    send(collector, conversation_span())
    assert collector.spans[0].resource["service.name"] == "vocero"


def test_a_sampler_takes_whole_traces_or_none_of_them(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    for instance in ("node-1", "node-2"):  # two workers decide alike
        names = [f"conv_{number}" for number in range(40)]
        send(
            collector,
            *(span for name in names for span in (leg_span(1, name), conversation_span(name))),
            instance=instance,
        )
    counts = {name: [span.trace_id for span in collector.spans].count(trace_id_of(name)) for name in names}
    assert set(counts.values()) == {0, 4}
    assert 8 <= sum(count > 0 for count in counts.values()) <= 32


def test_a_collector_that_hangs_costs_nobody_time_and_no_more_memory_than_is_allowed(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "30")
    collector.hangs = True
    traces = Traces(collector.endpoint)
    traces.start()
    traces.record(conversation_span())
    wait_until(lambda: collector.requests == 1, LIMIT, "the exporter hangs")
    dropped = told(SpanOutcome.DROPPED)
    begun = time.monotonic()
    for number in range(MOST_WAITING + 500):
        traces.record(leg_span(number))
    assert time.monotonic() - begun < 1.0
    assert told(SpanOutcome.DROPPED) - dropped == 500
    begun = time.monotonic()
    traces.close(0.2)
    assert time.monotonic() - begun < 2.0
    collector.hangs = False  # what its thread says of it belongs to no other test
    wait_until(lambda: "traces" not in {thread.name for thread in threading.enumerate()}, LIMIT, "the thread's end")


def test_a_collector_that_refuses_is_told_of_once_and_then_that_it_is_well_again(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.traces.ROUND_SECONDS", 0.02)
    collector.status = 403
    refused = told(SpanOutcome.REFUSED)
    traces = Traces(collector.endpoint)
    with capture_logs() as lines:
        traces.start()
        for number in range(1, 4):
            traces.record(leg_span(number))
            wait_until(lambda number=number: told(SpanOutcome.REFUSED) - refused >= number, LIMIT, "it is refused")
        collector.status = 200
        traces.record(conversation_span())
        collector.wait_for(1)
        traces.close(LIMIT)
    assert [line["event"].partition(":")[0] for line in lines] == ["traces are not taken", "traces are taken again"]
    assert collector.named("leg") == []


def test_a_collector_that_is_not_there_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.3")
    traces = Traces(f"http://127.0.0.1:{free_port()}/v1/traces")
    traces.start()
    traces.record(conversation_span())
    traces.close(LIMIT)
    traces.record(conversation_span())
    assert not traces.is_on


def test_more_than_one_request_holds_is_sent_in_several(collector: Collector) -> None:
    send(collector, *(leg_span(number) for number in range(1, 2 * BATCH + 2)))
    assert (len(collector.spans), collector.requests) == (2 * BATCH + 1, 3)
