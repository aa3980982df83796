"""`scripts/smoke.py` against what works and what does not: its exit code, its one line, and what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from scripts import smoke
from scripts.smoking.http_checks import Http, Place, tls_context
from scripts.smoking.question import SpokenQuestion
from scripts.smoking.report import Report, SmokeError
from scripts.smoking.talk import Talk
from tests.front import NAME, Front, make_certificate
from tests.integration.front.nodes import Node, say
from tests.servers import RunningSandbox, RunningService, free_port

Arm = Callable[[dict[str, Any]], None]


@pytest.fixture
def arm(sandbox: RunningSandbox) -> Iterator[Arm]:
    def put(rule: dict[str, Any]) -> None:
        requests.post(f"{sandbox.url}/sandbox/faults", json=[rule], timeout=5).raise_for_status()

    yield put
    requests.delete(f"{sandbox.url}/sandbox/faults", timeout=5)


@pytest.fixture
def key_file(service: RunningService, tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_text(f"{service.api_key}\n")
    return str(path)


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run it, which must fail; its one line."""
    assert smoke.main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_typed_conversation_and_speech_are_told_step_by_step(
    service: RunningService, key_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert smoke.main([service.url, "--typed", "--key-file", key_file, "--agent", "agent_demo"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    *steps, last = said.out.splitlines()
    assert [step.split()[1] for step in steps] == [
        "livez", "version", "signed", "conversation", "greeting", "typed", "second", "goodbye", "speech",
    ]  # fmt: skip
    assert last.startswith("All went well: 9 steps in ")
    assert service.api_key not in said.out
    assert "signature" not in said.out


def test_a_program_gets_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert smoke.main([url, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["url"], told["steps"]) == (False, url, [])
    assert told["failure"]["step"] == "livez"
    assert told["failure"]["reason"] == "no connection"


def test_where_nobody_is(capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, f"http://127.0.0.1:{free_port()}")
    assert line == "smoke: livez: no connection. Is it up, and are name and port right?"


def test_something_else_that_answers_there(capsys: pytest.CaptureFixture[str]) -> None:
    with Node("127.0.0.1", say("<html>hello</html>")) as node:
        assert "is this Vocero's address?" in failure(capsys, f"http://{node.address}")
    with Node("127.0.0.1", say("no", "404 Not Found")) as node:
        assert failure(capsys, f"http://{node.address}").startswith("smoke: livez: it answered 404. ")


def test_a_certificate_that_nobody_vouches_for_and_plain_http_before_a_front(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    front = Front(tmp_path / "front", make_certificate(tmp_path, NAME))
    front.start()
    try:
        assert "--ca-file" in failure(capsys, front.url)
        assert "it sends us elsewhere (308)" in failure(capsys, f"http://127.0.0.1:{front.http_port}")
        assert "it answered 503" in failure(capsys, front.url, "--ca-file", str(front.certificate.ca_file))
    finally:
        front.stop()


def test_a_key_that_is_not_good(service: RunningService, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("a-key-that-nobody-made")
    line = failure(capsys, service.url, "--key-file", str(wrong), "--agent", "agent_demo")
    assert line.startswith("smoke: signed URL: it answered 401: ")
    assert "python -m scripts.api_keys create" in line
    assert "a-key-that-nobody-made" not in line


def test_an_agent_that_is_not_for_everybody(service: RunningService, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, service.url, "--agent", "agent_of_somebody")
    assert line.startswith("smoke: conversation: an error event (1008): ")
    assert "VOCERO_PUBLIC_AGENTS" in line
    assert ".." not in line


def test_a_conversation_that_breaks_is_named_by_its_step(
    service: RunningService, arm: Arm, capsys: pytest.CaptureFixture[str]
) -> None:
    arm({"route": "agents.conversation", "turn": 2, "close_code": 1011, "close_reason": "broken"})
    assert failure(capsys, service.url, "--typed").startswith("smoke: typed turn: ")


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"route": "tts.stream", "drop_after_bytes": 20_000}, "the speech broke off"),
        ({"route": "tts.stream", "silence": True}, "the speech is silence"),
        ({"route": "tts.stream", "truncate": 0.1}, "the speech has [0-9]+ bytes only"),
        ({"route": "tts.stream", "code": "quota_exceeded"}, "it answered 503"),
    ],
)
def test_speech_that_cannot_be_heard_or_breaks_off(
    service: RunningService, arm: Arm, rule: dict[str, Any], reason: str
) -> None:
    arm(rule)
    report = Report(tell=lambda _: None, ends_at=time.monotonic() + 60)
    http = Http(Place(service.url, None, service.api_key), report)
    with closing(http), pytest.raises(SmokeError, match=reason):
        http.stream_speech(smoke.DEFAULT_VOICE)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"route": "agents.conversation", "turn": 2, "silence": True}, "the answer is silence"),
        ({"route": "agents.conversation", "garbage": True, "drop_after_frames": 1}, "something came that is no event"),
        ({"route": "agents.conversation", "drop_after_frames": 3}, "the conversation was closed with 1006"),
    ],
)
def test_what_the_service_would_hide_is_noticed_all_the_same(
    sandbox: RunningSandbox, arm: Arm, rule: dict[str, Any], reason: str
) -> None:
    """Straight to the sandbox: the service in between makes something better of most faults."""
    arm(rule)
    report = Report(tell=lambda _: None, ends_at=time.monotonic() + 60)
    talk = Talk(Place(sandbox.url, None, None), "agent_id=agent_demo", report, tls_context(None))
    with closing(talk), pytest.raises(SmokeError, match=reason):
        talk.open()
        talk.hear_greeting()
        talk.ask_typed()


def test_it_ends_when_its_time_is_up(service: RunningService, arm: Arm, capsys: pytest.CaptureFixture[str]) -> None:
    arm({"route": "agents.conversation", "hang": 30})
    assert smoke.main([service.url, "--typed", "--timeout", "2"]) == 1
    assert capsys.readouterr().err.startswith("smoke: conversation: ")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["voice.example.com"],
        ["ftp://voice.example.com"],
        ["https://user:secret@voice.example.com"],
        ["https://voice.example.com/?token=x"],
        ["https://voice.example.com", "--timeout", "0"],
        ["https://voice.example.com", "--timeout", "many"],
        ["https://voice.example.com", "--key-file", "/there/is/no/such/file"],
        ["https://voice.example.com", "--ca-file", __file__],
        ["https://voice.example.com", "--key", "secret"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        smoke.main(arguments)
    assert left.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("name", "size"), [("pcm_16000", 3200), ("pcm_8000", 1600), ("ulaw_8000", 800)])
def test_the_question_is_spoken_in_the_format_that_the_agent_hears(name: str, size: int) -> None:
    messages = list(SpokenQuestion(name).messages())
    assert 15 < len(messages) < 60  # tenths of a second
    sounds = [json.loads(message)["user_audio_chunk"] for message in messages]
    assert len(sounds[3]) == (size + 2) // 3 * 4
