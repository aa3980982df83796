"""The HTTP side: what is refused, in which shape, and that nothing which is secret comes out."""

from __future__ import annotations

import json
import socket

import pytest
import requests

from scripts.launcher.waiting import wait_until

LIMIT = 20
VOICE = "JBFqnCBsd6RMkjVDRZzb"
ROUTES = ("", "/stream", "/with-timestamps", "/stream/with-timestamps")


@pytest.fixture
def speak(service):
    def post(route: str = "/stream", *, voice: str = VOICE, key: str | None = service.api_key, **options):
        headers = {"xi-api-key": key} if key else {}
        options.setdefault("json", {"text": "Hello."})
        url = f"{service.url}/v1/text-to-speech/{voice}{route}"
        return requests.post(url, headers=headers, timeout=LIMIT, **options)

    return post


def assert_refused(answer: requests.Response, status: int, code: str) -> None:
    detail = answer.json()["detail"]
    assert (answer.status_code, detail["code"]) == (status, code)
    assert {"type", "code", "message", "status", "request_id"} <= set(detail)
    assert detail["status"] == detail["code"]
    assert answer.headers["request-id"] == detail["request_id"]
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("key", "code"), [(None, "missing_api_key"), ("wrong", "invalid_api_key"), ("é", "invalid_api_key")]
)
def test_speech_needs_a_key_of_ours(speak, route, key, code):
    assert_refused(speak(route, key=key.encode() if key else None), 401, code)


@pytest.mark.parametrize("body", [b"", b"hello", b"[1]", b'"text"', b"\xff\xfe", b"[" * 50_000])
def test_a_body_that_is_no_json_object_never_reaches_elevenlabs(speak, body):
    answer = speak(data=body, json=None)
    assert_refused(answer, 400, "bad_request" if body in (b"[1]", b'"text"') else "malformed_json")


def test_a_body_over_the_bound_is_refused(speak):
    assert_refused(speak(json={"text": "x" * 3_000_000}), 413, "request_too_large")


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"json": {"text": ""}}, {400, 422}),
        ({"json": {}}, {422}),
        ({"json": {"text": "x" * 10_001}}, {400}),
        ({"voice": "nobody"}, {404}),
        ({"params": {"output_format": "mp3_1_1"}}, {400, 422}),
        ({"json": {"text": "Hi", "model_id": "nothing"}}, {400, 404}),
        ({"json": {"text": "Hi", "voice_settings": {"speed": 99}}}, {400, 422}),
    ],
)
@pytest.mark.parametrize("route", ROUTES)
def test_what_elevenlabs_refuses_keeps_its_status_and_gets_its_newest_shape(speak, route, options, status):
    answer = speak(route, **options)
    assert answer.status_code in status
    assert_refused(answer, answer.status_code, answer.json()["detail"]["code"])


def test_a_path_as_voice_does_not_reach_another_route_of_elevenlabs(speak, sandbox):
    before = requests.get(f"{sandbox.url}/sandbox/stats", timeout=LIMIT).json()
    for voice in ("..%2f..%2fv1%2fuser%3f", "%2e%2e", "a%3Fb"):
        assert speak(voice=voice).status_code in {404, 405}
    after = requests.get(f"{sandbox.url}/sandbox/stats", timeout=LIMIT).json()
    assert after["requests"].get("user") == before["requests"].get("user")


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 401, "code": "invalid_api_key"}, 503, "upstream_account_unusable"),
        ({"code": "quota_exceeded"}, 503, "upstream_account_unusable"),
        ({"code": "system_busy"}, 429, "system_busy"),
        ({"code": "concurrent_limit_exceeded"}, 429, "concurrent_limit_exceeded"),
        ({"code": "internal_error"}, 502, "internal_error"),
    ],
)
def test_elevenlabs_troubles_are_told_without_blaming_the_integrators_key(speak, sandbox, fault, status, code):
    rule = {"route": "tts.stream", **fault}
    requests.post(f"{sandbox.url}/sandbox/faults", json=[rule], timeout=LIMIT).raise_for_status()
    try:
        answer = speak()
    finally:
        requests.delete(f"{sandbox.url}/sandbox/faults", timeout=LIMIT)
    assert_refused(answer, status, code)
    assert "api key" not in answer.json()["detail"]["message"].lower()


def test_a_client_that_leaves_in_the_middle_gives_its_slot_at_elevenlabs_back(service, sandbox):
    body = json.dumps({"text": "A long answer, of which nobody hears the end. " * 100}).encode()
    head = (
        f"POST /v1/text-to-speech/{VOICE}/stream?output_format=pcm_16000 HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
        f"xi-api-key: {service.api_key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", service.port), timeout=LIMIT) as raw:
        raw.sendall(head.encode() + body)
        assert raw.recv(100).startswith(b"HTTP/1.1 200")

    def slots_taken() -> int:
        slots = requests.get(f"{sandbox.url}/sandbox/stats", timeout=LIMIT).json()["concurrency"]
        return sum(each["now"] for name, each in slots.items() if name != "agents")

    wait_until(lambda: slots_taken() == 0, LIMIT, "the slot is free")


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/static/../app.py", "/static/%2e%2e/app.py"])
def test_what_is_not_there_is_told_in_the_same_shape(service, path):
    answer = requests.get(service.url + path, timeout=LIMIT)
    assert answer.status_code == 404
    assert answer.json()["detail"]["request_id"]


def test_the_page_may_load_nothing_from_elsewhere_and_nobody_may_frame_it(service):
    headers = requests.get(f"{service.url}/", timeout=LIMIT).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_a_browser_may_ask_the_api_from_any_page_and_never_with_cookies(service):
    answer = requests.options(
        f"{service.url}/v1/text-to-speech/{VOICE}",
        headers={
            "Origin": "https://shop.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "xi-api-key,content-type",
        },
        timeout=LIMIT,
    )
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "xi-api-key" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Access-Control-Allow-Origin" not in requests.get(f"{service.url}/", timeout=LIMIT).headers


def test_nothing_secret_and_nothing_said_is_in_the_log(service, speak):
    speak(json={"text": "The canary sings at midnight."})
    speak(key="vocero_canary_key_0000")
    speak(json={"text": "The canary sings at midnight."}, params={"output_format": "mp3_1_1"})
    log = service.log()
    for secret in (service.api_key, "sandbox-key", "vocero_canary_key_0000", "midnight", "conversation_signature"):
        assert secret not in log
