"""The metrics of who speaks: closed labels, and every series there before its first event."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.metrics import MetricWrapperBase

from service import metrics_fallback
from service.metrics_fallback import BreakerState, FailoverCause, ProbeResult
from service.storage import Capability, OverrideMode

DECLARED = {name: found for name, found in vars(metrics_fallback).items() if isinstance(found, MetricWrapperBase)}
PROVIDERS = ("elevenlabs", "local")


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.mark.parametrize("metric", DECLARED.values(), ids=DECLARED.keys())
def test_each_has_a_name_of_ours_and_a_help_that_is_a_sentence(metric: MetricWrapperBase) -> None:
    (family,) = metric.collect()
    assert family.name.startswith("vocero_")
    assert family.documentation[0].isupper()
    assert family.documentation.endswith(".")
    assert isinstance(metric, Gauge | Counter)
    if isinstance(metric, Gauge):
        assert metric._multiprocess_mode in {"livemax", "livesum"}


def test_every_series_of_a_chain_is_there_from_the_start_and_no_other() -> None:
    metrics_fallback.start_series(PROVIDERS, list(Capability))
    for capability in Capability:
        for cause in FailoverCause:
            labels = {"capability": capability.value, "cause": cause.value}
            assert (
                value("vocero_provider_switches_total", **labels, **{"from": "elevenlabs", "to": "local"}) is not None
            )
            assert value("vocero_provider_switches_total", **labels, **{"from": "local", "to": "local"}) is None
        for provider in PROVIDERS:
            for result in ProbeResult:
                labels = {"capability": capability.value, "provider": provider, "result": result.value}
                assert value("vocero_breaker_probes_total", **labels) is not None


def test_a_breaker_is_in_one_state_at_a_time() -> None:
    for state in BreakerState:
        metrics_fallback.breaker_is("elevenlabs_2", Capability.SPEECH, state)
        labels = {"provider": "elevenlabs_2", "capability": "speech"}
        found = {each: value("vocero_breaker_state", **labels, state=each.value) for each in BreakerState}
        assert found == {each: float(each is state) for each in BreakerState}


def test_an_override_is_of_one_mode_at_a_time() -> None:
    for mode in OverrideMode:
        metrics_fallback.override_is(Capability.SPEECH, mode, set_at=12.5)
        found = {each: value("vocero_override_mode", capability="speech", mode=each.value) for each in OverrideMode}
        assert found == {each: float(each is mode) for each in OverrideMode}
    assert value("vocero_override_set_timestamp_seconds", capability="speech") == 12.5


def test_switches_and_probes_are_counted() -> None:
    metrics_fallback.start_series(PROVIDERS, list(Capability))
    switch = {"capability": "conversation", "cause": "first_audio_late", "from": "elevenlabs", "to": "local"}
    probe = {"capability": "conversation", "provider": "elevenlabs", "result": "bad"}
    before = value("vocero_provider_switches_total", **switch), value("vocero_breaker_probes_total", **probe)
    metrics_fallback.provider_switched(Capability.CONVERSATION, "elevenlabs", "local", FailoverCause.FIRST_AUDIO_LATE)
    metrics_fallback.breaker_probed("elevenlabs", Capability.CONVERSATION, ProbeResult.BAD)
    assert before[0] is not None
    assert before[1] is not None
    assert value("vocero_provider_switches_total", **switch) == before[0] + 1
    assert value("vocero_breaker_probes_total", **probe) == before[1] + 1
