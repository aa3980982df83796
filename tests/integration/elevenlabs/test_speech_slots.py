"""Speech that is bounded here never asks for more at once than the plan has, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis
import requests

from service.account_limiter import AccountLimiter
from service.elevenlabs.account_slots import AccountSlots
from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.errors import UpstreamError
from tests.conftest import NewRedis
from tests.keys import one_key
from tests.parts import require_module

PLAN_SLOTS = 2  # of the sandbox's plan "free"
VOICE = "21m00Tcm4TlvDq8ikWAM"


@pytest.fixture
def limiter(new_redis: NewRedis) -> Iterator[AccountLimiter]:
    with redis.Redis.from_url(new_redis(), socket_timeout=1) as store:
        yield AccountLimiter(store, name="speech", cap=PLAN_SLOTS, max_waiting=50)


@pytest.fixture
def service(start_sandbox, limiter: AccountLimiter) -> Iterator[tuple[ElevenLabsService, str]]:
    require_module("espeakng_loader", "local")
    sandbox = start_sandbox("--plan", "free")
    slots = AccountSlots(speech=limiter, wait_seconds=60)
    with ElevenLabsService(sandbox.url, keys=one_key("sk_for_the_sandbox"), slots=slots) as service:
        yield service, sandbox.url


def test_many_requests_at_once_take_turns_and_none_is_refused(service, limiter):
    elevenlabs, url = service
    outcomes: list[int | Exception] = []

    def speak() -> None:
        try:
            outcomes.append(len(b"".join(elevenlabs.generate_audio("One moment.", voice_id=VOICE))))
        except UpstreamError as exc:
            outcomes.append(exc)

    speakers = [threading.Thread(target=speak) for _ in range(8)]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join(60)
    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert len(outcomes) == 8
    concurrency = requests.get(f"{url}/sandbox/stats", timeout=5).json()["concurrency"]
    assert max(each["peak"] for each in concurrency.values()) == PLAN_SLOTS
    assert limiter.stats().held_here == 0


@pytest.mark.parametrize("how", ["closed", "read to its end", "left half-way"])
def test_a_slot_comes_back_however_the_answer_ends(service, limiter, how):
    elevenlabs, _ = service
    stream = elevenlabs.generate_audio("One moment, please.", voice_id=VOICE)
    assert limiter.stats().held_here == 1
    if how == "closed":
        stream.close()
    elif how == "read to its end":
        stream.read_all()
    else:
        for _ in stream:
            break
        stream.close()
    assert limiter.stats().held_here == 0


def test_the_plans_number_is_learned_from_the_answers(service, limiter):
    elevenlabs, _ = service
    with elevenlabs.generate_audio("Hello.", voice_id=VOICE) as stream:
        assert int(stream.headers["maximum-concurrent-requests"]) == limiter.stats().plan_cap
