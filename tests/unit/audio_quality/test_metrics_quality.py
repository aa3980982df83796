"""The metrics of audio quality: there from the start, at 0, and only with labels of closed sets."""

from __future__ import annotations

from prometheus_client import REGISTRY

from service import metrics_quality
from service.metrics_quality import Defect, SampleOutcome


def test_every_series_is_there_before_anything_has_happened() -> None:
    metrics_quality.start_quality_series(["a provider of this test"])
    labels = {"provider": "a provider of this test"}
    assert REGISTRY.get_sample_value("elevenlabs_audio_quality_score_count", labels) == 0
    assert REGISTRY.get_sample_value("vocero_audio_quality_baseline_deviation_count", labels) == 0
    for defect in Defect:
        assert REGISTRY.get_sample_value("vocero_audio_broken_total", {**labels, "defect": defect.value}) == 0
    for outcome in SampleOutcome:
        assert REGISTRY.get_sample_value("vocero_audio_samples_total", {**labels, "outcome": outcome.value}) == 0


def test_a_score_without_a_baseline_has_no_deviation() -> None:
    provider = "another provider of this test"
    metrics_quality.start_quality_series([provider])
    metrics_quality.answer_scored(provider, 3.1, None)
    metrics_quality.answer_scored(provider, 2.6, -0.5)
    labels = {"provider": provider}
    assert REGISTRY.get_sample_value("elevenlabs_audio_quality_score_count", labels) == 2
    assert REGISTRY.get_sample_value("vocero_audio_quality_baseline_deviation_count", labels) == 1
    assert REGISTRY.get_sample_value("elevenlabs_audio_quality_score_bucket", {**labels, "le": "3.0"}) == 1
    at_most = {**labels, "le": "-0.5"}
    assert REGISTRY.get_sample_value("vocero_audio_quality_baseline_deviation_bucket", at_most) == 1
