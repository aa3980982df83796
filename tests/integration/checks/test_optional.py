"""The checks of what Vocero does without when it is away: a collector of traces, an OpenAI-compatible endpoint."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.checks import State
from service.checks.finding import Finding
from service.checks.optional_checks import check_collector, check_openai
from service.config import Settings
from tests.integration.providers.openai_server import OpenAiServer
from tests.parts import require_module
from tests.servers import free_port

KEY = "sk-hunter2-that-nobody-may-see"


def look(check: Callable[[Settings], Iterator[Finding]], **settings: Any) -> list[Finding]:
    found = list(check(Settings.model_validate(settings)))
    assert KEY not in str(found)
    return found


def test_what_is_not_set_is_not_asked() -> None:
    assert look(check_collector) == []
    assert look(check_openai, VOCERO_OPENAI_API_KEY=KEY) == []


@pytest.mark.parametrize(
    ("status", "state", "said"),
    [
        (200, State.OK, "it answers (200)"),
        (404, State.OK, "it answers (404)"),
        (401, State.WARNING, "it does not take our key (401)"),
        (502, State.WARNING, "it fails (502); the backup does all by itself"),
    ],
)
def test_an_openai_endpoint_is_asked_with_our_key(status: int, state: State, said: str) -> None:
    require_module("espeakng_loader", "local")
    with OpenAiServer() as server:
        server.answers["/models"] = (status, "application/json", b"{}")
        (found,) = look(
            check_openai, VOCERO_OPENAI_BASE_URL=server.url, VOCERO_OPENAI_API_KEY=KEY, VOCERO_OPENAI_CHAT_MODEL="any"
        )
    assert (found.state, found.said) == (state, said)
    assert server.paths() == ["/models"]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_an_openai_endpoint_that_is_away() -> None:
    address = f"http://127.0.0.1:{free_port()}/v1"
    (found,) = look(check_openai, VOCERO_OPENAI_BASE_URL=address, VOCERO_OPENAI_SPEECH_MODEL="any")
    assert found.state is State.WARNING
    assert found.said.startswith("it does not answer")


def test_a_collector_is_sent_an_empty_batch() -> None:
    require_module("opentelemetry", "traces")
    with importlib.import_module("tests.integration.traces.collector").Collector() as collector:
        (found,) = look(check_collector, OTEL_EXPORTER_OTLP_ENDPOINT=collector.base)
        assert (found.state, collector.requests, collector.spans) == (State.OK, 1, [])
        collector.status = 403
        (found,) = look(check_collector, OTEL_EXPORTER_OTLP_ENDPOINT=collector.base)
        assert found.state is State.WARNING


def test_a_collector_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    require_module("opentelemetry", "traces")
    monkeypatch.setattr("service.checks.optional_checks.SECONDS", 0.5)
    (found,) = look(check_collector, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert found.state is State.WARNING
    assert "4318" in found.remedy
