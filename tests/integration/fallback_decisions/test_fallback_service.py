"""`FallbackService` as a worker has it: whom it asks, by whose order, and what it tells."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from prometheus_client import REGISTRY

from scripts.launcher.waiting import wait_until
from service.config import Settings
from service.elevenlabs.faults import FailoverCause, fault_of
from service.errors import (
    ConnectionClosedError,
    ServiceUnavailableError,
    UpstreamQuotaError,
    UpstreamRequestError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from service.fallback.fallback_service import FallbackService, make_fallback_service
from service.storage import Capability, Database, OverrideMode
from tests.integration.fallback_decisions.conftest import OwnValkey

TALK, SPEECH = Capability.CONVERSATION, Capability.SPEECH
DOWN = fault_of(UpstreamUnavailableError("It is down.", code="http_500", status=500))
Make = Callable[..., FallbackService]


@pytest.fixture
def make(own_valkey: OwnValkey, database: Database) -> Iterator[Make]:
    """Make a service as the settings say; it is closed with the test."""
    made: list[FallbackService] = []

    def make(canary: Callable[..., object] = lambda *_: None, **settings: Any) -> FallbackService:
        service = make_fallback_service(
            Settings(**settings),  # type: ignore[call-arg]
            database=database,
            store=own_valkey.client(),
            canary=canary,
        )
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()


def order(service: FallbackService, mode: OverrideMode, capability: Capability = TALK) -> None:
    version = service.board.current(capability).version
    service.board.set(capability, mode, reason="drill", author="ana", expected_version=version)


def break_down(service: FallbackService, capability: Capability = TALK) -> None:
    for _ in range(5):
        service.failed("elevenlabs", capability, DOWN)


def test_the_primary_is_asked_first_as_long_as_it_is_well(make: Make) -> None:
    service = make()
    for capability in Capability:
        plan = service.plan(capability, key="conv")
        assert (plan.providers, plan.mode, plan.is_disabled) == (("elevenlabs", "local"), OverrideMode.AUTO, False)


def test_one_that_fails_is_asked_last_and_for_that_capability_alone(make: Make) -> None:
    service = make(fallback_chain="elevenlabs,elevenlabs_2,local")
    break_down(service)
    assert service.plan(TALK, key="conv").providers == ("elevenlabs_2", "local", "elevenlabs")
    assert service.plan(SPEECH, key="conv").providers == ("elevenlabs", "elevenlabs_2", "local")


def test_a_report_names_the_last_fault_that_spoke_against_a_provider(make: Make) -> None:
    service = make()
    break_down(service)
    service.failed("elevenlabs", TALK, fault_of(UpstreamRequestError("It was asked wrongly.", code="bad", status=400)))
    found = {(each.provider, each.capability): (each.state, each.last_fault) for each in service.breakers()}
    assert found == {
        ("elevenlabs", "conversation"): ("open", "server_error: http_500 (provider)"),
        ("elevenlabs", "speech"): ("closed", None),
    }


def test_one_that_answers_slowly_is_asked_last(make: Make) -> None:
    service = make(breaker_slow_seconds=2.0)
    for _ in range(5):
        service.succeeded("elevenlabs", TALK, seconds=2.5)
    assert service.plan(TALK, key="conv").providers == ("local", "elevenlabs")


def test_an_agent_that_thinks_long_is_not_a_slow_provider(make: Make) -> None:
    service = make(breaker_slow_seconds=2.0, agent_thinking_seconds=6.0)
    for _ in range(40):
        service.note_first_audio("agent", "elevenlabs", 7.0)
    assert service.plan(TALK, key="conv").providers == ("elevenlabs", "local")
    assert service.first_audio_deadline("agent") == 8.0


def test_an_answer_of_ours_teaches_nothing_about_the_agent(make: Make) -> None:
    service = make()
    for _ in range(40):
        service.note_first_audio("agent", "local", 0.01)
    assert service.first_audio_deadline("agent") == 3.0


def test_an_answer_that_was_given_up_is_waited_for_a_little_longer_next_time(make: Make) -> None:
    service = make()
    for _ in range(20):
        service.note_first_audio("agent", "elevenlabs", 0.5)
    assert service.first_audio_deadline("agent") == 1.5
    for _ in range(2):
        service.note_late_answer("agent")
    assert service.first_audio_deadline("agent") == 2.5


FAULTLESS = [
    ConnectionClosedError(1001, "the user leaves"),
    UpstreamRequestError("The text is empty.", code="empty_text"),
    UpstreamRequestError("No.", code="first_message_override_refused", close_code=1008),
]


def test_what_is_nobodys_fault_is_held_against_nobody(make: Make) -> None:
    service = make()
    for _ in range(50):
        for exc in FAULTLESS:
            service.failed("elevenlabs", TALK, fault_of(exc))
    assert service.plan(TALK, key="conv").providers[0] == "elevenlabs"


def test_an_empty_account_is_left_alone(make: Make) -> None:
    service = make()
    for _ in range(5):
        service.failed("elevenlabs", TALK, fault_of(UpstreamQuotaError("Empty.", code="quota_exceeded")))
    assert service.plan(TALK, key="conv").providers[0] == "local"


def test_with_the_breaker_switched_off_nothing_is_held_against_anybody(make: Make) -> None:
    service = make(breaker_enabled=False)
    break_down(service)
    assert service.plan(TALK, key="conv").providers[0] == "elevenlabs"
    assert service.may_return(TALK, key="conv")


@pytest.mark.parametrize(
    ("mode", "providers"),
    [
        (OverrideMode.FORCED_PRIMARY, ("elevenlabs",)),
        (OverrideMode.FORCED_FALLBACK, ("local",)),
        (OverrideMode.DISABLED, ()),
    ],
)
def test_an_order_goes_before_what_the_breaker_thinks(
    make: Make, mode: OverrideMode, providers: tuple[str, ...]
) -> None:
    service = make()
    order(service, mode)
    for _ in range(2):
        plan = service.plan(TALK, key="conv")
        assert (plan.providers, plan.mode) == (providers, mode)
        assert plan.is_disabled is (mode is OverrideMode.DISABLED)
        break_down(service)
    assert service.plan(SPEECH, key="conv").mode is OverrideMode.AUTO
    assert not service.may_return(TALK, key="conv")


def test_a_conversation_returns_by_the_policy_alone(make: Make) -> None:
    assert make().may_return(TALK, key="conv")
    assert not make(fallback_return="stick").may_return(TALK, key="conv")
    service = make()
    break_down(service)
    assert not service.may_return(TALK, key="conv")


def test_a_first_sound_that_does_not_come_keeps_its_conversation_away_for_a_while(make: Make) -> None:
    service = make()
    late = fault_of(UpstreamTimeoutError("It does not come.", code="first_audio_late"))
    service.failed("elevenlabs", TALK, late)
    assert service.plan(TALK, key="another").providers[0] == "elevenlabs"
    assert not service.may_return(TALK, key="conv")


def test_workers_leave_and_come_back_together(make: Make) -> None:
    terms = {
        "breaker_open_seconds": 0.2,
        "breaker_probe_seconds": 0.2,
        "breaker_dwell_seconds": 0.5,
        "breaker_ramp_seconds": 0.1,
    }
    probed: list[tuple[str, Capability]] = []
    workers = [make(lambda *which: probed.append(which), **terms) for _ in range(3)]
    for worker in workers:
        worker.start()
    break_down(workers[0])
    wait_until(lambda: all(each.plan(TALK, key="c").providers[0] == "local" for each in workers), 10.0)
    wait_until(lambda: all(each.plan(TALK, key="c").providers[0] == "elevenlabs" for each in workers), 20.0)
    assert set(probed) == {("elevenlabs", TALK)}


def test_nobody_waits_for_a_redis_that_hangs(make: Make, own_valkey: OwnValkey) -> None:
    service = make()
    service.start()
    own_valkey.hang()
    slowest = 0.0
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        begun = time.monotonic()
        service.plan(TALK, key="conv")
        service.may_return(TALK, key="conv")
        service.succeeded("elevenlabs", TALK, seconds=0.1)
        slowest = max(slowest, time.monotonic() - begun)
    assert slowest < 0.2  # on a machine that is busy with something else
    break_down(service)
    assert service.plan(TALK, key="conv").providers[0] == "local"


def test_it_starts_without_redis_and_hears_of_orders_when_that_is_there(make: Make, own_valkey: OwnValkey) -> None:
    own_valkey.kill()
    service, other = make(), make()
    service.start()
    order(other, OverrideMode.DISABLED)
    wait_until(lambda: service.plan(TALK, key="c").is_disabled, 10.0)  # from the database
    own_valkey.start()
    order(other, OverrideMode.FORCED_PRIMARY)
    wait_until(lambda: service.plan(TALK, key="c").mode is OverrideMode.FORCED_PRIMARY, 10.0)


def test_closing_leaves_no_thread(make: Make) -> None:
    before = threading.active_count()
    service = make()
    service.start()
    service.close()
    wait_until(lambda: threading.active_count() <= before, 10.0)


def test_a_report_of_the_worker_tells_of_each_breaker(make: Make) -> None:
    service = make()
    break_down(service)
    talk, speech = service.breakers()
    assert (talk.provider, talk.capability, talk.state) == ("elevenlabs", "conversation", "open")
    assert talk.probe_at is not None
    assert talk.probe_at - time.time() == pytest.approx(15.0, abs=2.0)
    assert (speech.capability, speech.state, speech.opened_at) == ("speech", "closed", None)


@pytest.mark.parametrize(
    ("mode", "refused"),
    [
        (OverrideMode.AUTO, set()),
        (OverrideMode.FORCED_PRIMARY, {"local"}),
        (OverrideMode.FORCED_FALLBACK, {"elevenlabs"}),
        (OverrideMode.DISABLED, {"elevenlabs", "local"}),
    ],
)
def test_whoever_is_not_to_be_asked_by_order_is_not(make: Make, mode: OverrideMode, refused: set[str]) -> None:
    service = make()
    order(service, mode, SPEECH)
    for provider in ("elevenlabs", "local"):
        expected = pytest.raises(ServiceUnavailableError) if provider in refused else nullcontext()
        with expected:
            service.check(SPEECH, provider)


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_metrics_tell_of_switches_and_of_what_is_thought_of_a_provider(make: Make) -> None:
    service = make()
    service.start()
    switch = {"capability": "conversation", "from": "elevenlabs", "to": "local", "cause": "connection_lost"}
    before = sample("vocero_provider_switches_total", **switch)
    service.switched(TALK, "elevenlabs", "local", FailoverCause.CONNECTION_LOST)
    service.switched(TALK, "", "local", FailoverCause.CONNECTION_LOST)  # nobody spoke before: that is no switch
    assert sample("vocero_provider_switches_total", **switch) == before + 1
    break_down(service)
    assert sample("vocero_breaker_state", provider="elevenlabs", capability="conversation", state="open") == 1
    order(service, OverrideMode.DISABLED)
    assert sample("vocero_override_mode", capability="conversation", mode="disabled") == 1
