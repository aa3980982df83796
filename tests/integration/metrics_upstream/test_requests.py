"""Requests and errors are counted as their callers see them: once, by whose fault it is, through real sockets."""

from __future__ import annotations

import json
import socket
import sys
import threading
from types import FrameType
from typing import Any

import pytest
from prometheus_client import generate_latest

from scripts.launcher.waiting import wait_until
from service import metrics_elevenlabs
from service.elevenlabs.agent_answer import FinalText
from service.elevenlabs.asking import note_error
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.keys import KeyChoice
from service.elevenlabs.pool_options import PoolOptions
from service.elevenlabs.vocabulary import SpeechRoute
from service.errors import CapacityError, NotFoundError, SecretsUnavailableError, UpstreamError, VoceroError
from service.metrics_elevenlabs import Operation
from service.secret import Secret
from tests.integration.metrics_upstream.conftest import Arm, StartElevenLabs
from tests.keys import one_key
from tests.servers import free_port
from tests.told import Told, now

VOICE = "21m00Tcm4TlvDq8ikWAM"
TEXT = "Good morning."
REQUESTS, ERRORS = "elevenlabs_requests_total", "elevenlabs_errors_total"
SECONDS = "elevenlabs_request_duration_seconds"


def speak(service: ElevenLabsService, text: str = TEXT) -> bytes:
    return b"".join(service.generate_audio(text, voice_id=VOICE, output_format="pcm_16000"))


def converse(service: ElevenLabsService, **options: Any) -> None:
    service.open_conversation("agent_demo", {"type": "conversation_initiation_client_data"}, **options).close()


# --- Success


def test_speech_that_was_heard_is_one_success_with_its_time_and_its_characters(
    start_elevenlabs: StartElevenLabs, told: Told
) -> None:
    assert speak(start_elevenlabs())
    assert told.more(REQUESTS) == {"speech success": 1}
    assert told.more(ERRORS) == {}
    assert told.more(f"{SECONDS}_count") == {"speech": 1}
    assert 0 < told.more(f"{SECONDS}_sum")["speech"] < 30
    characters = told.more("elevenlabs_characters_total")
    assert characters.pop("billed") > 0
    assert characters == {"sent": len(TEXT), "heard": len(TEXT)}


def test_a_request_that_passes_through_untouched_counts_the_same(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    body = json.dumps({"text": TEXT, "model_id": "eleven_flash_v2_5"}).encode()
    with start_elevenlabs().open_speech(SpeechRoute.STREAM, VOICE, query="output_format=pcm_16000", body=body) as got:
        assert told.more(REQUESTS) == {}, "it is not over yet"
        assert got.read_all()
    assert told.more(REQUESTS) == {"speech success": 1}
    assert told.more("elevenlabs_characters_total")["heard"] == len(TEXT)


def test_each_kind_of_speech_is_one_request(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    service = start_elevenlabs()
    service.generate_timed_audio(TEXT, voice_id=VOICE)
    list(service.stream_timed_audio(TEXT, voice_id=VOICE))
    with service.generate_whole_audio(TEXT, voice_id=VOICE) as stream:
        stream.read_all()
    assert told.more(REQUESTS) == {"speech success": 3}
    assert told.more("elevenlabs_characters_total")["heard"] == 3 * len(TEXT)


def test_a_conversation_is_one_success_and_its_signed_url_is_one_of_its_own(
    start_elevenlabs: StartElevenLabs, told: Told
) -> None:
    converse(start_elevenlabs())
    assert told.more(REQUESTS) == {"conversation success": 1, "signed_url success": 1}
    assert told.more(f"{SECONDS}_count") == {"conversation": 1, "signed_url": 1}
    assert told.more(ERRORS) == {}


def test_a_question_to_an_agent_is_one_request_however_many_it_takes(
    start_elevenlabs: StartElevenLabs, told: Told
) -> None:
    asked = start_elevenlabs().generate_response("What are your opening hours?", agent_id="agent_text", text_only=True)
    assert [event for event in asked if isinstance(event, FinalText)]
    assert told.more(REQUESTS)["conversation success"] == 1
    assert told.more(ERRORS) == {}


def test_a_client_that_leaves_is_no_failure_and_the_rest_of_what_it_asked_for_is_wasted(
    start_elevenlabs: StartElevenLabs, told: Told
) -> None:
    text = "This is a very long sentence, of which hardly anything will be heard by anybody. " * 20
    service = start_elevenlabs()
    with service.generate_audio(text, voice_id=VOICE, output_format="pcm_16000") as stream:
        next(iter(stream))
    assert told.more(REQUESTS) == {"speech success": 1}
    characters = told.more("elevenlabs_characters_total")
    assert characters["sent"] == len(text) == characters.get("heard", 0) + characters["wasted"]
    assert characters["wasted"] > characters.get("heard", 0)


# --- Failure: each domain, through each door


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"status": 401, "code": "invalid_api_key"}, "invalid_api_key key speech"),
        ({"status": 401, "code": "quota_exceeded"}, "quota_exceeded quota speech"),
        ({"status": 402, "code": "insufficient_credits"}, "insufficient_credits quota speech"),
        ({"status": 403, "code": "subscription_required"}, "subscription_required policy speech"),
        ({"status": 404, "code": "voice_not_found"}, "voice_not_found caller speech"),
        ({"status": 429, "code": "concurrent_limit_exceeded"}, "concurrent_limit_exceeded quota speech"),
        ({"status": 429, "code": "system_busy"}, "system_busy provider speech"),
        ({"status": 500, "body": ""}, "http_500 provider speech"),
        ({"status": 503, "code": "service_unavailable"}, "service_unavailable provider speech"),
        ({"status": 418, "body": {"detail": {"code": "a_new_word", "message": "?"}}}, "other caller speech"),
        ({"drop_after_bytes": 0}, "connection_lost network speech"),
        ({"drop_after_bytes": 3_000}, "truncated provider speech"),
    ],
)
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_speech_request_that_fails_is_one_failure_and_one_error_however_often_it_is_tried(
    start_elevenlabs: StartElevenLabs, arm: Arm, told: Told, fault: dict[str, Any], expected: str, attempts: int
) -> None:
    arm("tts.stream", **fault)
    service = start_elevenlabs(attempts=attempts)
    with pytest.raises(UpstreamError):
        speak(service)
    assert told.more(ERRORS) == {expected: 1}
    assert told.more(REQUESTS) == {"speech failure": 1}


@pytest.mark.parametrize(
    ("route", "fault", "expected"),
    [
        ("agents.signed_url", {"status": 401, "code": "invalid_api_key"}, "invalid_api_key key"),
        ("agents.signed_url", {"status": 503, "code": "maintenance"}, "maintenance provider"),
        ("agents.conversation", {"status": 402, "code": "insufficient_credits"}, "insufficient_credits quota"),
        ("agents.conversation", {"status": 403, "code": "forbidden"}, "forbidden policy"),
        (
            "agents.conversation",
            {"status": 429, "code": "concurrent_limit_exceeded"},
            "concurrent_limit_exceeded quota",
        ),
        ("agents.conversation", {"status": 500, "body": ""}, "http_500 provider"),
    ],
)
@pytest.mark.parametrize("attempts", [1, 3])
def test_a_conversation_that_is_refused_is_one_error_of_a_conversation(
    start_elevenlabs: StartElevenLabs,
    arm: Arm,
    told: Told,
    route: str,
    fault: dict[str, Any],
    expected: str,
    attempts: int,
) -> None:
    arm(route, **fault)
    with pytest.raises(UpstreamError):
        converse(start_elevenlabs(attempts=attempts))
    code, domain = expected.split()
    assert told.more(ERRORS) == {f"{code} {domain} conversation": 1}
    found = told.more(REQUESTS)
    assert {name: count for name, count in found.items() if "conversation" in name} == {"conversation failure": 1}


def test_what_a_retry_mends_is_a_success_and_no_error(start_elevenlabs: StartElevenLabs, arm: Arm, told: Told) -> None:
    arm("tts.stream", status=503, code="system_busy", times=2)
    service = start_elevenlabs(attempts=3)
    assert speak(service)
    assert told.more(REQUESTS) == {"speech success": 1}
    assert told.more(f"{SECONDS}_count") == {"speech": 1}
    assert told.more(ERRORS) == {}


def test_nobody_there_is_the_networks_fault(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    service = start_elevenlabs(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UpstreamError):
        speak(service)
    with pytest.raises(UpstreamError):
        converse(service, signed=False)
    assert told.more(ERRORS) == {"connect_failed network speech": 1, "connect_failed network conversation": 1}


def test_silence_is_the_providers_fault(start_elevenlabs: StartElevenLabs, arm: Arm, told: Told) -> None:
    arm("tts.stream", hang=30)
    with pytest.raises(UpstreamError):
        speak(start_elevenlabs(read_seconds=0.3))
    assert told.more(ERRORS) == {"read_timeout provider speech": 1}


def test_a_bound_of_ours_is_told_apart(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    service = start_elevenlabs(agents_pool=PoolOptions(max_size=1, max_waiting=0, timeout_seconds=0.05))
    with service.open_conversation("agent_demo"), pytest.raises(CapacityError):
        converse(service)
    assert told.more(ERRORS) == {"pool_exhausted us conversation": 1}
    assert told.more(REQUESTS)["conversation failure"] == 1


def test_without_a_key_it_is_the_keys_fault(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    def none() -> list[Secret]:
        raise SecretsUnavailableError("There is no key.")

    with pytest.raises(VoceroError):
        speak(start_elevenlabs(keys=KeyChoice(none)))
    assert told.more(ERRORS) == {"secrets_unavailable key speech": 1}


def test_a_voice_that_cannot_be_is_the_callers_fault(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    with pytest.raises(NotFoundError):
        start_elevenlabs().generate_audio(TEXT, voice_id="..")
    assert told.more(ERRORS) == {"voice_not_found caller speech": 1}


def test_a_success_without_a_sound_is_a_failure(start_elevenlabs: StartElevenLabs, told: Told) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65_536)
            peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ncontent-length: 0\r\n\r\n")

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        service = start_elevenlabs(f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert speak(service) == b""
    finally:
        thread.join(10)
        listener.close()
    assert told.more(ERRORS) == {"no_audio provider speech": 1}
    assert told.more("elevenlabs_characters_total") == {"sent": len(TEXT), "wasted": len(TEXT)}


# --- In the middle, and beside


def test_an_error_that_goes_through_many_hands_is_counted_once(
    start_elevenlabs: StartElevenLabs, arm: Arm, told: Told
) -> None:
    arm("agents.conversation", status=503, code="maintenance")
    with pytest.raises(UpstreamError) as caught:
        converse(start_elevenlabs())
    note_error(Operation.CONVERSATION, caught.value)
    assert told.more(ERRORS) == {"maintenance provider conversation": 1}


def test_an_answer_that_breaks_off_in_a_conversation_is_an_error_of_a_request_that_was_good(
    start_elevenlabs: StartElevenLabs, arm: Arm, told: Told
) -> None:
    arm("agents.conversation", close_code=1002, close_reason="llm_timeout", turn=1, drop_after_frames=1)
    asked = start_elevenlabs().generate_response("What are your opening hours?", agent_id="agent_demo")
    with pytest.raises(UpstreamError):
        list(asked)
    assert sum(told.more(ERRORS).values()) == 1


def test_a_signed_url_that_is_fetched_ahead_has_its_errors_to_itself(
    start_elevenlabs: StartElevenLabs, arm: Arm, told: Told
) -> None:
    arm("agents.signed_url", status=401, code="invalid_api_key")
    start_elevenlabs(default_agent_id="agent_demo", agents_pool=PoolOptions(min_idle=1, max_size=2))
    wait_until(lambda: bool(told.more(ERRORS)), 10, "an error")
    assert told.more(ERRORS) == {"invalid_api_key key signed_url": 1}


def test_the_quota_the_costs_and_deletions_are_asked_by_names_of_their_own(
    start_elevenlabs: StartElevenLabs, told: Told
) -> None:
    service = start_elevenlabs()
    quota = service.fetch_quota()
    assert 0 <= quota.used < quota.limit
    with pytest.raises(UpstreamError):
        service.fetch_cost("conv_that_is_not")
    service.delete_conversation("conv_that_is_not")
    assert told.more(REQUESTS) == {
        "subscription success": 1,
        "past_conversation failure": 1,
        "deletion success": 1,
    }
    assert told.more(ERRORS) == {"conversation_not_found caller past_conversation": 1}
    assert now("elevenlabs_quota_characters", kind="used") == 0, "the job tells it, not the request"


@pytest.mark.parametrize("pieces", [2, 400])
def test_a_piece_of_audio_passes_without_a_call(start_elevenlabs: StartElevenLabs, pieces: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    may_send = threading.Semaphore(1)

    def answer() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65_536)
            peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(pieces):
                may_send.acquire(timeout=10)
                peer.sendall(b"4\r\naaaa\r\n")
            peer.sendall(b"0\r\n\r\n")

    calls = 0

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_filename == metrics_elevenlabs.__file__

    thread = threading.Thread(target=answer)
    thread.start()
    service = start_elevenlabs(f"http://127.0.0.1:{listener.getsockname()[1]}")
    sys.setprofile(note)
    try:
        heard = 0
        for piece in service.generate_audio(TEXT, voice_id=VOICE):
            heard += len(piece)
            may_send.release()
    finally:
        sys.setprofile(None)
        thread.join(10)
        listener.close()
    assert heard == 4 * pieces
    assert calls <= 6, "two for the request, one for the connection, two or three for its characters"


def test_no_error_carries_what_was_asked_for(start_elevenlabs: StartElevenLabs, arm: Arm, told: Told) -> None:
    arm("tts.stream", status=400, body={"detail": {"code": f"words {TEXT}", "message": TEXT}})
    with pytest.raises(UpstreamError):
        speak(start_elevenlabs(keys=one_key("sk_canary_in_a_label")))
    text = generate_latest().decode()
    assert TEXT not in text
    assert "sk_canary" not in text
    assert told.more(ERRORS) == {"other caller speech": 1}
