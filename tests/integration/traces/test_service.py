"""A real service and a real collector: a conversation is one trace, and its lines name it."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import requests

from scripts.launcher.waiting import wait_until
from service.traces import trace_id_of
from tests import servers
from tests.conftest import NewRedis, StartService
from tests.integration.failover.conftest import LIMIT, PATIENT, Dial, dial  # noqa: F401
from tests.integration.failover.test_coming_back import resume_of
from tests.parts import require_module
from tests.servers import RunningSandbox, RunningService

if TYPE_CHECKING:
    from tests.integration.traces.collector import Collector, ReceivedSpan

BROKEN = {"route": "agents.conversation", "times": 1, "turn": 2, "after_characters": 5, "drop_after_frames": 0}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    require_module("opentelemetry", "traces")
    with importlib.import_module("tests.integration.traces.collector").Collector() as running:
        yield running


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory,
    service_settings: dict[str, str],
    api_key: str,
    collector: Collector,
    new_redis: NewRedis,
) -> Iterator[RunningService]:
    ours = {"VOCERO_REDIS_URL": new_redis(), "OTEL_EXPORTER_OTLP_ENDPOINT": collector.base}
    settings = {**service_settings, **PATIENT, **ours}
    running = servers.start_service(tmp_path_factory.mktemp("traced"), api_key, settings)
    yield running
    running.discard()


@pytest.fixture
def hanging(collector: Collector) -> Iterator[None]:
    collector.hangs = True
    yield
    collector.hangs = False


@pytest.fixture
def breaking_sandbox(sandbox: RunningSandbox) -> Iterator[None]:
    """The session's sandbox breaks one answer of one conversation."""
    requests.post(f"{sandbox.url}/sandbox/faults", json=[BROKEN], timeout=LIMIT).raise_for_status()
    yield
    requests.delete(f"{sandbox.url}/sandbox/faults", timeout=LIMIT).raise_for_status()


@pytest.mark.usefixtures("breaking_sandbox")
def test_a_conversation_with_a_failover_is_one_trace_that_its_lines_name(
    collector: Collector,
    service: RunningService,
    dial: Dial,  # noqa: F811
) -> None:
    talk = dial(service)
    metadata = talk.until("conversation_initiation_metadata")["conversation_initiation_metadata_event"]
    conversation_id = metadata["conversation_id"]
    talk.until("agent_response")
    talk.ask("How do returns work?")
    talk.until("agent_changed")
    talk.ask("Where is the shop?")
    talk.until("agent_response")
    talk.until("audio")
    talk.socket.close()
    wait_until(lambda: collector.named("conversation"), LIMIT, "the conversation's span")

    trace = [span for span in collector.spans if span.trace_id == trace_id_of(conversation_id)]
    (root,) = [span for span in trace if span.name == "conversation"]
    legs = sorted((span for span in trace if span.name == "leg"), key=lambda span: span.started_at)
    turns = [span for span in trace if span.name == "turn"]
    assert [leg.attributes["vocero.provider"] for leg in legs] == ["elevenlabs", "local"]
    assert [leg.attributes["vocero.leg"] for leg in legs] == [1, 2]
    assert {leg.parent_id for leg in legs} == {root.span_id}
    assert turns
    assert {turn.parent_id for turn in turns} <= {leg.span_id for leg in legs}
    assert any(turn.events for turn in turns)
    assert all(root.started_at <= span.started_at <= span.ended_at <= root.ended_at + 1 for span in trace)
    told = json.dumps([dict(span.attributes) for span in trace]).lower()
    assert "returns" not in told
    assert "shop" not in told
    service.wait_for_log('"conversation ended"')
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    assert {line["trace_id"] for line in lines if "conversation_id" in line} == {root.trace_id}


@pytest.mark.usefixtures("hanging")
def test_conversations_go_on_while_the_collector_hangs(
    collector: Collector,
    service: RunningService,
    dial: Dial,  # noqa: F811
) -> None:
    def count_ended() -> int:
        return service.log().count('"conversation ended"')

    ended_before, requests_before = count_ended(), collector.requests
    for number in (1, 2):
        talk = dial(service)
        talk.until("agent_response")
        talk.socket.close()
        wait_until(lambda number=number: count_ended() == ended_before + number, LIMIT, "it has ended")
        wait_until(lambda: collector.requests > requests_before, LIMIT, "the exporter hangs")
    assert requests.get(f"{service.url}/readyz", timeout=LIMIT).status_code == 200


@pytest.mark.long
def test_a_conversation_that_another_node_goes_on_with_is_one_trace(
    collector: Collector,
    start_service: StartService,
    dial: Dial,  # noqa: F811
) -> None:
    settings = {**PATIENT, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.base}
    first = start_service(**settings)
    second = start_service(**settings, VOCERO_REDIS_URL=first.environment["VOCERO_REDIS_URL"])
    talk = dial(first)
    metadata = talk.until("conversation_initiation_metadata")["conversation_initiation_metadata_event"]
    trace_id = trace_id_of(metadata["conversation_id"])
    talk.until("audio")
    first.child.ask_to_stop()
    assert talk.closed()[0] == 1012
    back = dial(second, resume=resume_of(talk))
    back.until("connection_token")
    back.ask("Where is the shop?")
    back.until("agent_response")
    back.until("audio")
    back.socket.close()

    def spans_named(name: str) -> list[ReceivedSpan]:
        return [span for span in collector.named(name) if span.trace_id == trace_id]

    wait_until(lambda: spans_named("conversation") and len(spans_named("leg")) == 2, LIMIT, "both nodes' spans")
    (root,) = spans_named("conversation")
    legs = sorted(spans_named("leg"), key=lambda span: span.started_at)
    assert [(leg.attributes["vocero.leg"], leg.attributes["vocero.outcome"]) for leg in legs] == [
        (1, "handed_over"),
        (2, "ended"),
    ]
    assert {leg.parent_id for leg in legs} == {root.span_id}
    assert root.started_at <= legs[0].started_at
    assert len({leg.resource["service.instance.id"] for leg in legs}) == 2
