"""The catalogue of what we ask of ElevenLabs: names, helps, closed sets, and every series that could wake somebody."""

from __future__ import annotations

import pytest
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from service import metrics_elevenlabs
from service.elevenlabs.asking import OPERATIONS, fault_and_code
from service.elevenlabs.fault_actions import FaultDomain
from service.elevenlabs.fault_rules import CLOSE_RULES, WIRE_RULES
from service.elevenlabs.known_faults import known_faults
from service.errors import (
    LimiterFullError,
    LimiterTimeoutError,
    PoolExhaustedError,
    PoolTimeoutError,
    UpstreamQuotaError,
    VoceroError,
)
from service.metrics_elevenlabs import Operation
from service.metrics_elevenlabs_codes import ErrorCode
from tests.told import Told, now

DECLARED = {name: each for name, each in vars(metrics_elevenlabs).items() if isinstance(each, MetricWrapperBase)}
CODES = {each.value for each in ErrorCode}
MOST_SERIES = 450
"""Of this module, in an instance that has seen no error yet: the whole service has 2,000."""


@pytest.mark.parametrize("metric", DECLARED.values(), ids=DECLARED.keys())
def test_a_metric_has_a_help_that_is_a_sentence_and_a_gauge_dies_with_its_worker(metric: MetricWrapperBase) -> None:
    (family,) = metric.collect()
    assert family.name.startswith(("vocero_", "elevenlabs_"))
    assert family.documentation[0].isupper()
    assert family.documentation.endswith(".")
    assert isinstance(metric, Counter | Gauge | Histogram)
    if isinstance(metric, Gauge):
        assert metric._multiprocess_mode in {"livemin", "livemax", "livesum"}


def test_every_word_of_our_own_tables_is_counted_apart() -> None:
    assert {rule.code for rule in (*CLOSE_RULES, *WIRE_RULES)} <= CODES


def test_what_would_wake_somebody_is_there_at_nothing_before_it_happens() -> None:
    found = known_faults()
    metrics_elevenlabs.start_errors(found)
    assert (FaultDomain.KEY, "invalid_api_key") in found
    assert (FaultDomain.QUOTA, "quota_exceeded") in found
    assert (FaultDomain.NETWORK, "connect_failed") in found
    assert (FaultDomain.PROVIDER, "http_500") in found
    assert (FaultDomain.US, "custom_llm_error") in found
    assert not [pair for pair in found if pair[0] is FaultDomain.CALLER]
    assert {code for _, code in found} <= CODES
    series = {tuple(sample.labels.values()) for sample in metrics_elevenlabs.ERRORS.collect()[0].samples}
    for operation in ("conversation", "speech"):
        assert {(operation, domain.value, code) for domain, code in found} <= series


def test_it_stays_small() -> None:
    metrics_elevenlabs.start_errors(known_faults())
    samples = [sample for metric in DECLARED.values() for family in metric.collect() for sample in family.samples]
    assert len([sample for sample in samples if not sample.name.endswith("_created")]) <= MOST_SERIES


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PoolTimeoutError(""), (FaultDomain.NETWORK, "pool_timeout")),
        (PoolExhaustedError(""), (FaultDomain.US, "pool_exhausted")),
        (LimiterTimeoutError(""), (FaultDomain.QUOTA, "limiter_timeout")),
        (LimiterFullError(""), (FaultDomain.QUOTA, "limiter_full")),
        (UpstreamQuotaError("", code="quota_exceeded"), (FaultDomain.QUOTA, "quota_exceeded")),
        (VoceroError(), (FaultDomain.US, "unexpected")),
        (ZeroDivisionError(), (FaultDomain.US, "unexpected")),
    ],
)
def test_a_failure_has_a_domain_and_a_word(error: Exception, expected: tuple[FaultDomain, str]) -> None:
    assert fault_and_code(error) == expected


def test_a_word_that_is_not_known_is_other() -> None:
    told = Told()
    metrics_elevenlabs.error_happened(Operation.SPEECH, FaultDomain.PROVIDER, "a_word_of_tomorrow")
    assert told.more("elevenlabs_errors_total") == {"other provider speech": 1}


def test_every_request_that_is_asked_has_its_operation() -> None:
    assert set(OPERATIONS.values()) == set(Operation) - {Operation.SIGNED_URL}


def test_the_quota_is_told_in_two_numbers() -> None:
    metrics_elevenlabs.quota_is(used=30, limit=100)
    try:
        assert now("elevenlabs_quota_characters", kind="used") == 30
        assert now("elevenlabs_quota_characters", kind="limit") == 100
    finally:
        metrics_elevenlabs.quota_is(used=0, limit=0)


def test_characters_are_counted_by_what_became_of_them() -> None:
    told = Told()
    metrics_elevenlabs.characters_sent(5)
    metrics_elevenlabs.characters_billed(4)
    metrics_elevenlabs.characters_heard(3)
    metrics_elevenlabs.characters_wasted(2)
    assert told.more("elevenlabs_characters_total") == {"sent": 5, "billed": 4, "heard": 3, "wasted": 2}
