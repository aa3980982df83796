"""The speech sockets of the running service: ElevenLabs' protocol, our keys, and the backup where ElevenLabs fails."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any

import httpx
import pytest
import requests
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from scripts.launcher.waiting import wait_until
from service.storage import ApiKeyLimits, ApiKeys, ApiScope, open_database
from tests import servers
from tests.conftest import StartService
from tests.integration.sandbox.account import RACHEL, SECONDS, SENTENCE, Account, hear, say
from tests.integration.sandbox.heard import LOUD, listen_pcm
from tests.servers import RunningSandbox, RunningService, free_port

MULTI = "multi-stream-input"
OUTCOMES = ("success", "failure")
Open = Callable[..., AbstractContextManager[ClientConnection]]


def account_at(service: RunningService, sdk: ElevenLabs | None = None) -> Account:
    return Account(service.url, sdk or ElevenLabs(api_key=service.api_key, base_url=service.url))


def opener(service: RunningService) -> Open:
    account = account_at(service)
    return lambda path="stream-input", key=service.api_key, **query: account.socket(path, key=key, **query)


@pytest.fixture
def open_socket(service: RunningService) -> Open:
    return opener(service)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    """A sandbox that waits for nothing, whose faults are this module's."""
    running = servers.start_sandbox(tmp_path_factory.mktemp("sandbox"), "--latency-scale", "0")
    yield running
    running.child.stop()


@pytest.fixture(scope="module")
def backed(
    tmp_path_factory: pytest.TempPathFactory,
    service_settings: dict[str, str],
    upstream: RunningSandbox,
    api_key: str,
    new_redis: Callable[[], str],
) -> Iterator[RunningService]:
    """A service with a backup in front of that sandbox, whose breaker never opens and which does not wait for long."""
    settings = {
        **service_settings,
        "ELEVENLABS_BASE_URL": upstream.url,
        "VOCERO_REDIS_URL": new_redis(),
        "VOCERO_OPS_PORT": str(free_port()),
        "VOCERO_FALLBACK_CHAIN": "elevenlabs,local",
        "VOCERO_FALLBACK_EARS": "false",
        "VOCERO_BREAKER_ENABLED": "false",
        "VOCERO_UPSTREAM_READ_SECONDS": "0.5",
        "VOCERO_RETRY_ATTEMPTS": "1",
    }
    running = servers.start_service(tmp_path_factory.mktemp("service"), api_key, settings)
    yield running
    running.discard()


@pytest.fixture
def open_backed(backed: RunningService, upstream: RunningSandbox) -> Iterator[Open]:
    requests.post(f"{upstream.url}/sandbox/reset", timeout=SECONDS).raise_for_status()
    yield opener(backed)
    requests.post(f"{upstream.url}/sandbox/reset", timeout=SECONDS).raise_for_status()


def fault(upstream: RunningSandbox, **rule: Any) -> None:
    answer = requests.post(f"{upstream.url}/sandbox/faults", json=[{"route": "tts.*input", **rule}], timeout=SECONDS)
    assert answer.status_code == 201, answer.text


def until_closed(socket: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """The messages that are still to come, and the code of the close behind them."""
    messages = []
    while True:
        try:
            messages.append(hear(socket))
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            return messages, closed.rcvd.code


def sound(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(each["audio"]) for each in messages if each.get("audio"))


def spoken(messages: list[dict[str, Any]]) -> str:
    return "".join("".join(each["alignment"]["chars"]) for each in messages if each.get("alignment"))


def speak(socket: ClientConnection, text: str = SENTENCE) -> tuple[list[dict[str, Any]], int]:
    with suppress(ConnectionClosed):  # what it was told before is still to be heard
        say(socket, text=" ", voice_settings={"stability": 0.5, "speed": 1.0})
        for word in text.split():
            say(socket, text=f"{word} ")
        say(socket, text="")
    return until_closed(socket)


# --- ElevenLabs speaks


def test_text_in_bits_comes_out_as_one_speech_with_times(open_socket: Open) -> None:
    with open_socket() as socket:
        messages, code = speak(socket)
    heard = listen_pcm(sound(messages))
    assert 2.5 < heard.seconds < 8
    assert heard.level > LOUD
    assert spoken(messages) == f"{SENTENCE} "
    assert (messages[-1]["isFinal"], code) == (True, 1000)


def test_many_contexts_share_a_socket(open_socket: Open) -> None:
    with open_socket(MULTI) as socket:
        for name in ("one", "two"):
            say(socket, text=" ", context_id=name)
            say(socket, text=f"This is {name}. ", context_id=name, flush=True)
            say(socket, context_id=name, close_context=True)
        say(socket, close_socket=True)
        messages, code = until_closed(socket)
    for name in ("one", "two"):
        mine = [each for each in messages if each["contextId"] == name]
        assert mine[-1].get("isFinal")
        assert f"This is {name}." in spoken(mine)
    assert code == 1000


@pytest.mark.filterwarnings("ignore:ConnectionClosed.code is deprecated")  # the SDK's own use of websockets
def test_the_official_sdk_speaks_while_it_reads(service: RunningService) -> None:
    with httpx.Client(timeout=SECONDS) as http:
        sdk = ElevenLabs(api_key=service.api_key, base_url=service.url, httpx_client=http).text_to_speech
        sdk._ws_base_url = service.ws_url  # it would insist on TLS otherwise
        words = iter(SENTENCE.split(" "))
        pieces = sdk.convert_realtime(
            RACHEL,
            text=words,
            model_id="eleven_flash_v2_5",
            output_format="pcm_16000",  # type: ignore[arg-type]
        )
        heard = listen_pcm(b"".join(pieces))
    assert 2.5 < heard.seconds < 8
    assert heard.level > LOUD


def test_elevenlabs_own_refusals_come_in_its_own_words(open_socket: Open) -> None:
    with open_socket(inactivity_timeout=0.2) as socket:
        say(socket, text=" ")
        [message], code = until_closed(socket)
    assert (message["error"], message["code"], code) == ("input_timeout_exceeded", 1008, 1008)
    assert "0.2 seconds" in message["message"]


# --- Who may


@pytest.mark.parametrize("field", ["xi_api_key", "xi-api-key", "authorization"])
def test_the_first_message_may_bring_the_key_and_elevenlabs_never_sees_it(
    service: RunningService, open_socket: Open, field: str
) -> None:
    shown = f"Bearer {service.api_key}" if field == "authorization" else service.api_key
    with open_socket(key=None) as socket:
        say(socket, text=" ", **{field: shown})  # the sandbox takes a message's key, and would refuse this one
        say(socket, text="Hello there. ")
        say(socket, text="")
        messages, code = until_closed(socket)
    assert code == 1000
    assert spoken(messages) == "Hello there. "


def test_the_query_may_bring_the_key_and_it_stays_here(service: RunningService, open_socket: Open) -> None:
    with open_socket(key=None, authorization=f"Bearer {service.api_key}") as socket:
        assert speak(socket, "Hello.")[1] == 1000
    assert service.api_key not in service.log()


@pytest.mark.parametrize(
    ("key", "word"), [(None, "missing_api_key"), ("vocero_wrong", "invalid_api_key")], ids=["none", "wrong"]
)
def test_without_a_good_key_nothing_is_spoken(open_socket: Open, key: str | None, word: str) -> None:
    with open_socket(key=key) as socket:
        if key is None:  # it may still come
            say(socket, text=" ")
        [message], code = until_closed(socket)
    assert (message["error"], code) == (word, 1008)


def test_a_key_is_held_to_its_scope_its_characters_and_its_places(
    service: RunningService, open_socket: Open, database_url: str
) -> None:
    database = open_database(database_url, busy_seconds=20)
    keys = ApiKeys(database)
    talks = keys.create("talks", limits=ApiKeyLimits(scopes=frozenset({ApiScope.CONVERSATION})))[1]
    short = keys.create("short", limits=ApiKeyLimits(characters_per_day=20))[1]
    alone = keys.create("alone", limits=ApiKeyLimits(max_concurrent=1))[1]
    database.close()
    with open_socket(key=talks) as socket:
        assert until_closed(socket)[0][0]["error"] == "missing_permissions"
    with open_socket(key=short) as socket:
        say(socket, text=" ")
        say(socket, text="Twelve long. ")
        say(socket, text="And no more. ")
        assert until_closed(socket)[0][-1]["error"] == "quota_exceeded"
    with open_socket(key=alone) as first:
        say(first, text=" ")
        say(first, text="Hello. ", flush=True)
        assert hear(first)["audio"]
        with open_socket(key=alone) as second:
            messages, code = until_closed(second)
    assert (messages[0]["error"], code) == ("too_many_concurrent_requests", 3008)


@pytest.mark.parametrize("said", ["no JSON", "[]", b'{"text": " "}'], ids=["text", "list", "binary"])
def test_what_is_no_message_ends_the_socket(open_socket: Open, said: str | bytes) -> None:
    with open_socket() as socket:
        socket.send(said)
        [message], code = until_closed(socket)
    assert (message["error"], code) == ("invalid_message", 1008)


# --- ElevenLabs fails


@pytest.mark.parametrize(
    "rule",
    [
        {"status": 503},
        {"close_code": 1011, "close_reason": "internal error"},
        {"drop_after_frames": 0},
        {"hang": 60},
        {"garbage": True},
        {"truncate": 0.0},
    ],
    ids=["refused", "closed", "cut", "hangs", "garbage", "no sound"],
)
def test_the_backup_speaks_all_of_it_when_elevenlabs_fails_before_the_first_sound(
    open_backed: Open, upstream: RunningSandbox, backed: RunningService, rule: dict[str, Any]
) -> None:
    fault(upstream, **rule)
    with open_backed() as socket:
        messages, code = speak(socket)
    heard = listen_pcm(sound(messages))
    assert 2.5 < heard.seconds < 8
    assert heard.level > LOUD
    assert spoken(messages).strip() == SENTENCE
    assert (messages[-1]["isFinal"], code) == (True, 1000)


def test_the_backup_has_many_contexts_too(open_backed: Open, upstream: RunningSandbox) -> None:
    fault(upstream, status=503)
    with open_backed(MULTI) as socket:
        for name in ("one", "two"):
            say(socket, text=" ", context_id=name)
            say(socket, text=f"This is {name}. ", context_id=name, flush=True)
        say(socket, text="This is never spoken", context_id="two")
        for name in ("one", "two"):
            say(socket, context_id=name, close_context=True)
        for number in range(6):
            say(socket, text=" ", context_id=f"c{number}")
        messages, code = until_closed(socket)
    for name in ("one", "two"):
        mine = [each for each in messages if each.get("contextId") == name]
        assert mine[-1] == {"isFinal": True, "contextId": name}
        assert spoken(mine).strip() == f"This is {name}."
    assert (messages[-1]["error"], code) == ("max_active_conversations", 1008)


def test_after_the_first_sound_nobody_takes_over_and_the_client_is_told(
    open_backed: Open, upstream: RunningSandbox
) -> None:
    fault(upstream, drop_after_frames=2, close_code=1011, close_reason="internal error")
    with open_backed() as socket:
        messages, code = speak(socket)
    assert len([each for each in messages if each.get("audio")]) == 2
    assert messages[-1]["error"]
    assert code == 1011


def test_a_client_that_says_nothing_more_to_the_backup_is_told_so(open_backed: Open, upstream: RunningSandbox) -> None:
    fault(upstream, status=503)
    with open_backed(inactivity_timeout=1) as socket:
        say(socket, text=" ")
        [message], code = until_closed(socket)
    assert (message["error"], code) == ("input_timeout_exceeded", 1008)


def test_without_a_backup_the_client_is_told(start_service: StartService) -> None:
    service = start_service(ELEVENLABS_BASE_URL=f"http://127.0.0.1:{free_port()}", VOCERO_RETRY_ATTEMPTS="1")
    with opener(service)() as socket:
        [message], code = until_closed(socket)
    assert (message["error"], code) == ("connect_failed", 1011)


@pytest.mark.filterwarnings("ignore:ConnectionClosed.code is deprecated")  # the SDK's own use of websockets
def test_the_sdk_is_told_of_our_account_as_what_it_is(start_service: StartService, start_sandbox) -> None:
    elevenlabs = start_sandbox("--latency-scale", "0", "--api-key", "another-key")
    service = start_service(ELEVENLABS_BASE_URL=elevenlabs.url, VOCERO_RETRY_ATTEMPTS="1")
    sdk = ElevenLabs(api_key=service.api_key, base_url=service.url).text_to_speech
    sdk._ws_base_url = service.ws_url
    with pytest.raises(ApiError) as caught:
        b"".join(sdk.convert_realtime(RACHEL, text=iter(["Hello."]), model_id="eleven_flash_v2_5"))
    assert caught.value.body["error"] == "upstream_account_unusable"
    assert "key" not in json.dumps(caught.value.body)


# --- What becomes of them


def told(service: RunningService, series: str) -> float:
    """What the service's metrics say now."""
    text = requests.get(f"{service.ops_url}/metrics", timeout=SECONDS).text
    [found] = re.findall(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found)


def test_they_are_counted(backed: RunningService, open_backed: Open, upstream: RunningSandbox) -> None:
    def counts() -> list[float]:
        asked = [f'elevenlabs_requests_total{{operation="speech_socket",outcome="{it}"}}' for it in OUTCOMES]
        ended = [f'vocero_speech_sockets_ended_total{{end="{it}"}}' for it in ("elevenlabs", "local")]
        return [told(backed, series) for series in (*asked, *ended)]

    good, bad, by_elevenlabs, by_backup = counts()
    with open_backed() as socket:
        speak(socket, "Hello.")
    after = [good + 1, bad, by_elevenlabs + 1, by_backup]
    wait_until(lambda: counts() == after, SECONDS, "the good one is counted")
    fault(upstream, status=503)
    with open_backed() as socket:
        speak(socket, "Hello.")
    after = [good + 1, bad + 1, by_elevenlabs + 1, by_backup + 1]
    wait_until(lambda: counts() == after, SECONDS, "the one that the backup spoke is counted")


def test_those_that_are_open_are_told_and_one_too_many_is_refused(start_service: StartService) -> None:
    service = start_service(VOCERO_WORKER_CONNECTIONS="20", VOCERO_OPS_PORT=str(free_port()))
    assert told(service, "vocero_speech_socket_capacity") == 2
    open_here = opener(service)
    with open_here(), open_here():
        wait_until(lambda: told(service, "vocero_speech_sockets_open") == 2, SECONDS, "both are told")
        with open_here() as third:
            [message], code = until_closed(third)
        assert (code, message["error"]) == (1013, "service_unavailable")
        assert told(service, 'vocero_speech_sockets_ended_total{end="no_place"}') == 1
    wait_until(lambda: told(service, "vocero_speech_sockets_open") == 0, SECONDS, "that they are gone is told")


def test_a_worker_that_leaves_lets_a_text_end_and_sends_the_others_away(start_service: StartService) -> None:
    service = start_service(VOCERO_DRAIN_TURN_SECONDS="3")
    open_here = opener(service)
    with open_here() as speaking, open_here() as idle:
        for socket in (speaking, idle):
            say(socket, text=" ")
        say(speaking, text=f"{SENTENCE} ", flush=True)
        assert hear(speaking)["audio"]
        service.child.ask_to_stop()
        say(speaking, text="")
        messages, code = until_closed(speaking)
        assert (messages[-1]["isFinal"], code) == (True, 1000)
        [message], code = until_closed(idle)
    assert code == 1012
    assert "connect again" in message["message"]
