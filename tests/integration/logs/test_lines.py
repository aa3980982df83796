"""The lines of a real service: each says which request and conversation it is about, and which leg."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests import servers
from tests.conftest import NewRedis
from tests.integration.failover.conftest import LIMIT, PATIENT, Dial, dial  # noqa: F401
from tests.servers import RunningSandbox, RunningService

VOICE = "JBFqnCBsd6RMkjVDRZzb"
BROKEN = {"route": "agents.conversation", "times": 1, "turn": 2, "after_characters": 5, "drop_after_frames": 0}


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory,
    service_settings: dict[str, str],
    api_key: str,
    new_redis: NewRedis,
) -> Iterator[RunningService]:
    """A service behind one proxy, as far as it knows."""
    settings = {
        **service_settings,
        **PATIENT,
        "VOCERO_REDIS_URL": new_redis(),
        "VOCERO_LOG_LEVEL": "info",
        "VOCERO_TRUSTED_PROXIES": "1",
    }
    running = servers.start_service(tmp_path_factory.mktemp("lines"), api_key, settings)
    yield running
    running.discard()


def lines_of(service: RunningService) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]


@pytest.fixture
def breaking_sandbox(sandbox: RunningSandbox) -> Iterator[None]:
    """The session's sandbox breaks one answer of one conversation."""
    requests.post(f"{sandbox.url}/sandbox/faults", json=[BROKEN], timeout=LIMIT).raise_for_status()
    yield
    requests.delete(f"{sandbox.url}/sandbox/faults", timeout=LIMIT).raise_for_status()


def speak(service: RunningService, text: str = "What nobody else may read.", **headers: str) -> requests.Response:
    return requests.post(
        f"{service.url}/v1/text-to-speech/{VOICE}/stream?output_format=pcm_16000",
        headers={"xi-api-key": service.api_key, **headers},
        json={"text": text},
        timeout=LIMIT,
    )


@pytest.mark.usefixtures("breaking_sandbox")
def test_every_line_of_a_conversation_names_it_its_request_and_its_leg(
    service: RunningService,
    dial: Dial,  # noqa: F811
) -> None:
    talk = dial(service)
    metadata = talk.until("conversation_initiation_metadata")["conversation_initiation_metadata_event"]
    conversation_id = metadata["conversation_id"]
    talk.until("agent_response")
    talk.ask("How do returns work?")
    talk.until("agent_changed")
    talk.socket.close()
    service.wait_for_log('"conversation ended"')

    lines = lines_of(service)
    (changed,) = [line for line in lines if line["event"] == "another provider speaks"]
    (ended,) = [line for line in lines if line["event"] == "conversation ended"]
    assert changed["conversation_id"] == ended["conversation_id"] == conversation_id
    assert changed["request_id"] == ended["request_id"]
    assert (changed["leg"], ended["leg"]) == (2, 2)
    about = [line for line in lines if conversation_id in json.dumps(line)]
    assert all({"request_id", "conversation_id", "leg"} <= line.keys() for line in about), about
    of_request = [line for line in lines if line.get("request_id") == ended["request_id"]]
    assert all(line.get("conversation_id") == conversation_id for line in of_request), of_request


def test_a_request_has_a_line_with_the_id_that_its_client_is_told_and_without_its_query(
    service: RunningService,
) -> None:
    url = f"{service.url}/v1/convai/conversation/get-signed-url?agent_id=agent_demo&secret=canary-8c1"
    answer = requests.get(url, headers={"xi-api-key": service.api_key}, timeout=LIMIT)
    request_id = answer.headers["X-Request-ID"]
    assert "X-Request-ID" in answer.headers["Access-Control-Expose-Headers"]
    (line,) = [line for line in lines_of(service) if line.get("request_id") == request_id]
    assert (line["event"], line["level"], line["method"], line["status"]) == ("request answered", "info", "GET", 200)
    assert line["path"] == "/v1/convai/conversation/get-signed-url"
    assert "canary-8c1" not in service.log()


def test_speech_has_one_too_although_it_does_not_come_to_flask(service: RunningService) -> None:
    first, second = speak(service), speak(service, **{"X-Request-ID": "of-the-proxy_1"})
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.headers["X-Request-ID"] == "of-the-proxy_1"
    assert len(first.headers["X-Request-ID"]) == 32
    for answer in (first, second):
        lines = [line for line in lines_of(service) if line.get("request_id") == answer.headers["X-Request-ID"]]
        assert [(line["event"], line["path"]) for line in lines] == [
            ("request answered", f"/v1/text-to-speech/{VOICE}/stream")
        ]
    assert "nobody else may read" not in service.log()


def test_a_failure_says_the_same_id_in_its_body_its_headers_and_all_its_lines(service: RunningService) -> None:
    answer = speak(service, text="")
    request_id = answer.json()["detail"]["request_id"]
    assert answer.headers["request-id"] == answer.headers["X-Request-ID"] == request_id
    lines = [line["event"] for line in lines_of(service) if line.get("request_id") == request_id]
    assert lines == ["upstream failed", "request answered"]


@pytest.mark.parametrize(
    ("request_bytes", "wrong"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nxi-api-key sk_canary-8c2\r\n\r\n", "Invalid HTTP Header"),
        (b"GET /?conversation_signature=canary-8c2 HTTP/x\r\n\r\n", "Invalid HTTP Version"),
        (b"sk_canary-8c2\r\n\r\n", "Invalid HTTP request line"),
    ],
)
def test_what_is_no_http_is_not_quoted(service: RunningService, request_bytes: bytes, wrong: str) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=LIMIT) as raw:
        raw.sendall(request_bytes)
        assert b" 400 " in raw.recv(100)
    service.wait_for_log(wrong)
    (line,) = [line for line in lines_of(service) if wrong in line["event"]]
    assert (line["event"], line["level"]) == (f"Invalid request ({wrong})", "warning")
    assert "canary-8c2" not in service.log()


def test_every_line_of_the_service_is_json(service: RunningService) -> None:
    assert [line for line in service.log().splitlines() if not line.startswith("{")] == []
