"""The whole service with two workers: what it asks of ElevenLabs stands in its `/metrics`, added up."""

from __future__ import annotations

import re

import requests

from scripts.launcher.waiting import wait_until
from tests.conftest import StartService
from tests.integration.metrics_upstream.conftest import Arm
from tests.servers import RunningService, free_port

SPEECH = "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM/stream"


def speak(service: RunningService) -> int:
    answer = requests.post(
        service.url + SPEECH, json={"text": "Good morning."}, headers={"xi-api-key": service.api_key}, timeout=30
    )
    return answer.status_code


def number(service: RunningService, series: str) -> float:
    text = requests.get(f"{service.ops_url}/metrics", timeout=10).text
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else -1.0


def test_what_two_workers_ask_for_is_added_up_and_what_they_hold_comes_back_to_nothing(
    upstream: str, start_service: StartService, arm: Arm
) -> None:
    service = start_service(
        ELEVENLABS_BASE_URL=upstream, VOCERO_WORKERS="2", VOCERO_OPS_PORT=str(free_port()), VOCERO_RETRY_ATTEMPTS="1"
    )
    error = 'elevenlabs_errors_total{code="invalid_api_key",domain="key",operation="speech"}'
    assert number(service, error) == 0, "it is there before it happens"
    assert [speak(service) for _ in range(6)] == [200] * 6
    arm("tts.stream", status=401, code="invalid_api_key", times=1)
    assert speak(service) != 200
    assert number(service, 'elevenlabs_requests_total{operation="speech",outcome="success"}') == 6
    assert number(service, 'elevenlabs_requests_total{operation="speech",outcome="failure"}') == 1
    assert number(service, error) == 1
    assert number(service, 'elevenlabs_request_duration_seconds_count{operation="speech"}') == 6
    assert number(service, 'elevenlabs_characters_total{kind="heard"}') == 6 * 13
    assert number(service, 'elevenlabs_characters_total{kind="billed"}') > 0
    opened = 'vocero_pool_events_total{event="opened",pool="speech"}'
    wait_until(lambda: number(service, opened) >= 1, 10, "what the pools count")
    lent = 'elevenlabs_pool_connections_active{pool="speech"}'
    wait_until(lambda: number(service, lent) == 0, 10, "that nothing is in use")
    assert number(service, "vocero_retry_budget_tokens") > 0
    assert number(service, 'vocero_pool_limit{pool="speech"}') > 0
