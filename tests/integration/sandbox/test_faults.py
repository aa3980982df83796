"""Faults on demand: each kind, on the HTTP routes and on the sockets, and the rules themselves."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.integration.sandbox.account import SECONDS, SENTENCE, Account, hear, say
from tests.integration.sandbox.heard import LOUD, listen_pcm
from tests.integration.sandbox.test_speech_routes import SPANISH


def _read_until_cut(answer: requests.Response) -> bytes:
    """Give what came of a streamed answer before the connection was cut, which it must be."""
    got = b""
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        for chunk in answer.iter_content(1):
            got += chunk
    return got


def _speak_all(socket: ClientConnection) -> None:
    say(socket, text=" ")
    say(socket, text=SENTENCE, flush=True)
    say(socket, text="")


def _frames_until_closed(socket: ClientConnection) -> tuple[list[Any], int | None]:
    """Give all frames, and the close frame's code (None if the connection was just cut)."""
    frames: list[Any] = []
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            frames.append(socket.recv(SECONDS))
    return frames, None if closed.value.rcvd is None else closed.value.rcvd.code


# --- HTTP


def test_latency_delays_the_answer(account: Account) -> None:
    account.faults({"route": "tts.stream", "latency": 0.4})
    began = time.monotonic()
    assert account.speak("/stream").status_code == 200
    assert time.monotonic() - began >= 0.4


def test_a_status_with_a_body_is_answered_as_it_is_given(account: Account) -> None:
    account.faults({"route": "tts.*", "status": 418, "body": {"detail": "short and stout"}})
    answer = account.speak()
    assert (answer.status_code, answer.json()) == (418, {"detail": "short and stout"})


@pytest.mark.parametrize(
    ("code", "status", "legacy"),
    [
        ("system_busy", 429, "system_busy"),
        ("concurrent_limit_exceeded", 429, "too_many_concurrent_requests"),
        ("rate_limit_exceeded", 429, "rate_limit_exceeded"),
        ("quota_exceeded", 401, "quota_exceeded"),
        ("insufficient_credits", 402, "quota_exceeded"),
        ("internal_error", 500, "internal_error"),
        ("service_unavailable", 503, "service_unavailable"),
    ],
)
def test_a_code_alone_is_answered_as_elevenlabs_does(account: Account, code: str, status: int, legacy: str) -> None:
    account.faults({"route": "tts.stream", "code": code})
    answer = account.speak("/stream")
    assert answer.status_code == status
    assert (answer.json()["detail"]["code"], answer.json()["detail"]["status"]) == (code, legacy)


def test_a_status_alone_gets_a_body_in_elevenlabs_shape(account: Account) -> None:
    account.faults({"route": "voices.list", "status": 503})
    answer = account.get("/v1/voices")
    assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "service_unavailable")


def test_a_hanging_request_gets_nothing_and_is_then_cut(account: Account) -> None:
    account.faults({"route": "tts.stream", "hang": 0.3})
    began = time.monotonic()
    with pytest.raises(requests.exceptions.ConnectionError):
        account.speak("/stream")
    assert time.monotonic() - began >= 0.3


def test_a_client_with_a_deadline_gives_up_on_a_hanging_request(account: Account) -> None:
    account.faults({"route": "user.*", "hang": 5})
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{account.url}/v1/user", headers={"xi-api-key": "k"}, timeout=0.3)


def test_drop_after_bytes_cuts_exactly_there(account: Account) -> None:
    account.faults({"route": "tts.stream", "drop_after_bytes": 10_001})
    with account.speak("/stream", stream=True) as answer:
        assert answer.status_code == 200
        assert len(_read_until_cut(answer)) == 10_001


def test_drop_after_frames_cuts_after_so_many_lines(account: Account) -> None:
    account.faults({"route": "tts.stream_with_timestamps", "drop_after_frames": 3})
    with account.speak("/stream/with-timestamps", stream=True) as answer:
        got = _read_until_cut(answer)
    assert len([json.loads(line) for line in got.splitlines()]) == 3


def test_a_hang_in_the_middle_comes_after_the_bytes(account: Account) -> None:
    account.faults({"route": "tts.stream", "drop_after_bytes": 5000, "hang": 0.3})
    with account.speak("/stream", stream=True) as answer:
        chunks = answer.iter_content(1000)
        assert sum(len(next(chunks)) for _ in range(5)) == 5000
        began = time.monotonic()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            next(chunks)
        assert time.monotonic() - began >= 0.2


def test_garbage_is_noise_as_long_as_the_answer(account: Account) -> None:
    healthy = account.speak().content
    account.faults({"route": "tts.convert", "garbage": True, "times": 1}, {"route": "models.*", "garbage": True})
    noise = listen_pcm(account.speak().content)
    assert noise.seconds == pytest.approx(listen_pcm(healthy).seconds, rel=0.02)
    assert noise.level > 0.4  # uniform noise has 0.58, speech 0.2 at most
    with pytest.raises(requests.exceptions.JSONDecodeError):
        account.get("/v1/models").json()


def test_silence_has_the_length_of_the_speech(account: Account) -> None:
    healthy = listen_pcm(account.speak().content)
    account.faults({"route": "tts.*", "silence": True})
    silence = listen_pcm(account.speak("/stream").content)
    assert silence.level < 0.0001  # the resampler's dither
    assert silence.seconds == pytest.approx(healthy.seconds, rel=0.02)


def test_truncated_speech_ends_early_and_in_order(account: Account) -> None:
    healthy = listen_pcm(account.speak().content)
    account.faults({"route": "tts.*", "truncate": 0.5})
    for path in ("", "/stream"):
        early = listen_pcm(account.speak(path).content)
        assert 0.3 * healthy.seconds < early.seconds < 0.7 * healthy.seconds
        assert early.level > LOUD


def test_a_truncated_json_answer_is_no_json(account: Account) -> None:
    account.faults({"route": "voices.*", "truncate": 0.5})
    answer = account.get("/v1/voices")
    assert answer.status_code == 200
    with pytest.raises(requests.exceptions.JSONDecodeError):
        answer.json()


# --- Sockets


def test_an_upgrade_is_refused_with_the_status_of_a_rule(account: Account) -> None:
    account.faults({"route": "tts.stream_input", "code": "system_busy"})
    with pytest.raises(InvalidStatus) as refused, account.socket():
        pytest.fail("the socket was opened")
    assert refused.value.response.status_code == 429
    assert json.loads(refused.value.response.body)["detail"]["code"] == "system_busy"


def test_a_socket_is_closed_with_the_code_and_reason_of_a_rule(account: Account) -> None:
    account.faults({"route": "tts.stream_input", "close_code": 1011, "close_reason": "unknown_websocket_crash"})
    with account.socket() as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(SECONDS)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "unknown_websocket_crash")


def test_a_socket_is_closed_after_so_many_frames(account: Account) -> None:
    account.faults({"route": "tts.*_input", "drop_after_frames": 2, "close_code": 1001})
    with account.socket() as socket:
        _speak_all(socket)
        frames, code = _frames_until_closed(socket)
    assert (len(frames), code) == (2, 1001)


def test_a_socket_is_cut_without_a_close_frame(account: Account) -> None:
    account.faults({"route": "tts.stream_input", "drop_after_frames": 2})
    with account.socket() as socket:
        _speak_all(socket)
        frames, code = _frames_until_closed(socket)
    assert (len(frames), code) == (2, None)


def test_a_socket_is_cut_after_so_many_bytes_of_audio(account: Account) -> None:
    account.faults({"route": "tts.stream_input", "drop_after_bytes": 20_000})
    with account.socket() as socket:
        _speak_all(socket)
        frames, code = _frames_until_closed(socket)
    sizes = [len(base64.b64decode(json.loads(frame)["audio"])) for frame in frames]
    assert code is None
    assert sum(sizes[:-1]) < 20_000 <= sum(sizes)


def test_a_socket_hangs_and_is_then_cut(account: Account) -> None:
    account.faults({"route": "tts.stream_input", "hang": 0.3})
    with account.socket() as socket:
        began = time.monotonic()
        _speak_all(socket)
        frames, code = _frames_until_closed(socket)
    assert (frames, code) == ([], None)
    assert time.monotonic() - began >= 0.2


def test_latency_delays_a_sockets_first_frame(account: Account) -> None:
    account.faults({"route": "tts.stream_input", "latency": 0.4})
    with account.socket() as socket:
        began = time.monotonic()
        _speak_all(socket)
        assert hear(socket)["audio"]
    assert time.monotonic() - began >= 0.4


def test_garbage_on_a_socket_is_no_json(account: Account) -> None:
    account.faults({"route": "tts.stream_input", "garbage": True})
    with account.socket() as socket:
        _speak_all(socket)
        with pytest.raises(json.JSONDecodeError):
            json.loads(socket.recv(SECONDS))


@pytest.mark.parametrize(("fault", "least", "most"), [({"silence": True}, 0.9, 1.1), ({"truncate": 0.5}, 0.25, 0.75)])
def test_a_sockets_sound_is_silenced_or_ends_early(
    account: Account, fault: dict[str, Any], least: float, most: float
) -> None:
    healthy = listen_pcm(account.speak().content)
    account.faults({"route": "tts.stream_input", **fault})
    with account.socket() as socket:
        _speak_all(socket)
        frames, code = _frames_until_closed(socket)
    heard = listen_pcm(b"".join(base64.b64decode(json.loads(frame)["audio"] or "") for frame in frames))
    assert code == 1000
    assert least < heard.seconds / healthy.seconds < most
    assert (heard.level > LOUD) == ("silence" not in fault)


# --- Rules


def test_the_nth_request_goes_wrong_and_no_other(account: Account) -> None:
    account.faults({"route": "tts.stream", "nth": 3, "status": 500})
    assert [account.speak("/stream").status_code for _ in range(5)] == [200, 200, 500, 200, 200]


def test_times_bounds_how_often_a_rule_strikes(account: Account) -> None:
    account.faults({"route": "models.list", "nth": 2, "times": 2, "status": 503})
    assert [account.get("/v1/models").status_code for _ in range(5)] == [200, 503, 503, 200, 200]


def test_a_glob_names_many_routes_and_other_routes_are_left_alone(account: Account) -> None:
    account.faults({"route": "user*", "status": 500})
    paths = ["/v1/user", "/v1/user/subscription", "/v1/models"]
    assert [account.get(path).status_code for path in paths] == [500, 500, 200]


def test_dice_fall_the_same_way_after_a_reset(account: Account) -> None:
    def outcomes() -> list[int]:
        account.reset()
        account.faults({"route": "models.list", "probability": 0.5, "status": 500})
        return [account.get("/v1/models").status_code for _ in range(20)]

    first = outcomes()
    assert {200, 500} == set(first)
    assert outcomes() == first


def test_the_controls_work_whatever_rules_there_are(account: Account) -> None:
    account.faults({"route": "*", "status": 500})
    assert account.get("/v1/user").status_code == 500
    assert account.stats()["faults"] == {"user.get": 1}
    requests.delete(f"{account.url}/sandbox/faults", timeout=SECONDS).raise_for_status()
    assert account.get("/v1/user").status_code == 200


def test_the_rules_in_force_are_shown_with_what_they_did(account: Account) -> None:
    account.faults({"route": "user.get", "nth": 2, "code": "maintenance"})
    account.get("/v1/user")
    account.get("/v1/user")
    account.get("/v1/user")
    (shown,) = account.get("/sandbox/faults").json()
    assert shown == {
        "route": "user.get", "nth": 2, "status": 503, "code": "maintenance", "matched": 3, "fired": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"route": "tts.stream"}, "nothing would happen"),
        ({"status": 500}, "Field required"),
        ({"route": "x", "latncy": 1}, "Extra inputs are not permitted"),
        ({"route": "x", "nth": 0, "status": 500}, "greater than or equal to 1"),
        ({"route": "x", "nth": 1, "probability": 0.5, "status": 500}, "not both"),
        ({"route": "x", "status": 200}, "greater than or equal to 400"),
        ({"route": "x", "code": "no_such_code"}, "no such error code"),
        ({"route": "x", "body": {}}, "a body needs a status"),
        ({"route": "x", "hang": 3600}, "less than or equal to 300"),
        ({"route": "x", "close_code": 1006}, "cannot be sent"),
        ({"route": "x", "close_reason": "because", "hang": 1}, "needs a close_code"),
        ({"route": "x", "close_code": 1011, "close_reason": "x" * 124}, "at most 123 bytes"),
        ({"route": "x", "truncate": 1.0}, "less than 1"),
        ("tts.stream", "valid list"),
    ],
)
def test_a_wrong_rule_is_an_error_that_says_what_is_wrong(account: Account, rule: Any, words: str) -> None:
    answer = requests.post(f"{account.url}/sandbox/faults", json=rule, timeout=SECONDS)
    assert answer.status_code == 422
    assert words in answer.json()["detail"][0]["msg"]
    assert account.get("/sandbox/faults").json() == []


def test_faults_do_not_spill_over_to_other_requests(account: Account) -> None:
    account.faults({"route": "tts.stream", "nth": 1, "drop_after_bytes": 100})
    with account.speak("/stream", stream=True) as broken:
        _read_until_cut(broken)
    assert listen_pcm(account.speak("/stream", text=SPANISH).content).level > LOUD
