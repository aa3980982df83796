"""The catalogue: names with units, helps that are sentences, labels from closed sets, and what each call tells."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from prometheus_client import REGISTRY, Counter, Gauge, Metric
from prometheus_client.metrics import MetricWrapperBase

from service import __version__, metrics
from service.metrics import (
    BackupPart,
    FailureCause,
    KeptKind,
    PartFailure,
    RecordLoss,
    RecordPath,
    ResumeOutcome,
    SecretsState,
)
from tests.servers import ROOT, clean_environment

UNITS = ("_seconds", "_bytes", "_ratio", "_info")
WITHOUT_UNIT = {
    "vocero_secrets_state",
    "vocero_secrets_version",
    "vocero_records_pending",
    "vocero_erasures_pending",
    "vocero_provider_deletions_pending",
    "vocero_workers_draining",
}
LABELS = {
    "part": set(BackupPart),
    "cause": {*PartFailure, *FailureCause} | set(RecordLoss),
    "kind": set(KeptKind),
    "in_time": {"true", "false"},
    "outcome": set(ResumeOutcome),
    "path": set(RecordPath),
    "state": set(SecretsState),
    "version": {__version__},
}
DECLARED = {name: value for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)}


def families() -> list[Metric]:
    return [family for metric in DECLARED.values() for family in metric.collect()]


def value(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None
    return found


def test_there_is_a_catalogue() -> None:
    assert len(DECLARED) >= 7


@pytest.mark.parametrize("metric", DECLARED.values(), ids=DECLARED.keys())
def test_a_metric_has_its_units_name_at_the_end_and_a_help_that_is_a_sentence(metric: MetricWrapperBase) -> None:
    (family,) = metric.collect()
    assert family.name.startswith("vocero_")
    assert family.documentation[0].isupper()
    assert family.documentation.endswith(".")
    if family.type == "gauge":  # of a counter, the library says _total
        assert family.name.endswith(UNITS) or family.name in WITHOUT_UNIT


@pytest.mark.parametrize("metric", DECLARED.values(), ids=DECLARED.keys())
def test_a_gauge_of_a_dead_worker_does_not_stay(metric: MetricWrapperBase) -> None:
    assert isinstance(metric, Gauge | Counter)
    if isinstance(metric, Gauge):
        assert metric._multiprocess_mode in {"livemin", "livemax", "livesum"}


def test_labels_come_from_closed_sets_and_every_series_is_there_from_the_start() -> None:
    samples = {}
    for family in families():
        for sample in family.samples:
            for label, text in sample.labels.items():
                assert text in LABELS[label]
                samples.setdefault((sample.name, label), set()).add(text)
    assert samples["vocero_secrets_failures_total", "cause"] == set(FailureCause)
    assert samples["vocero_backup_part_failures_total", "part"] == set(BackupPart)
    assert samples["vocero_backup_part_failures_total", "cause"] == set(PartFailure)
    assert samples["vocero_records_lost_total", "cause"] == set(RecordLoss)
    assert samples["vocero_records_written_total", "path"] == LABELS["path"]
    assert samples["vocero_retention_deleted_total", "kind"] == LABELS["kind"]
    assert samples["vocero_secrets_state", "state"] == LABELS["state"]
    assert samples["vocero_build_info", "version"] == LABELS["version"]


class Cake(StrEnum):
    """A closed set."""

    PLUM = "plum"
    PEAR = "pear"


@pytest.fixture
def lenient() -> Iterator[None]:
    """As in production."""
    metrics.hold_labels(strictly=False)
    yield
    metrics.hold_labels(strictly=True)


@pytest.mark.parametrize("allowed", [Cake, frozenset({"plum", "pear"})])
def test_a_label_from_outside_its_set_is_an_error_that_does_not_tell_it(allowed: type[Cake] | frozenset[str]) -> None:
    assert metrics.closed(allowed, "plum") == "plum"
    assert metrics.closed(allowed, "other") == "other"
    with pytest.raises(metrics.UnknownLabelError) as caught:
        metrics.closed(allowed, "hunter2")
    assert str(caught.value) == "A label's text is none of: pear, plum."


@pytest.mark.usefixtures("lenient")
def test_in_production_it_is_told_as_other_and_counted() -> None:
    before = value("vocero_label_values_rejected_total")
    assert (metrics.closed(Cake, "plum"), metrics.closed(Cake, "hunter2")) == ("plum", "other")
    assert value("vocero_label_values_rejected_total") == before + 1


def test_one_state_at_a_time() -> None:
    for state in [*SecretsState, SecretsState.MISSING]:
        metrics.secrets_are(state)
        states = {each: value("vocero_secrets_state", state=each) for each in SecretsState}
        assert states == {each: float(each == state) for each in SecretsState}


def test_what_is_told_is_what_is_shown() -> None:
    metrics.secrets_read(at=1234.5, version=6)
    assert value("vocero_secrets_read_timestamp_seconds") == 1234.5
    assert value("vocero_secrets_version") == 6
    before = value("vocero_secrets_failures_total", cause="sealed"), value("vocero_secrets_rotations_total")
    metrics.secrets_failed(FailureCause.SEALED)
    metrics.secrets_rotated()
    after = value("vocero_secrets_failures_total", cause="sealed"), value("vocero_secrets_rotations_total")
    assert after == (before[0] + 1, before[1] + 1)


def test_what_retention_and_erasure_tell_is_what_is_shown() -> None:
    metrics.retention_ran(1234.5)
    assert value("vocero_retention_last_run_timestamp_seconds") == 1234.5
    metrics.erasures_wait(orders=2, deletions=7)
    assert (value("vocero_erasures_pending"), value("vocero_provider_deletions_pending")) == (2, 7)
    before = value("vocero_retention_deleted_total", kind="audit_entry")
    metrics.retention_deleted(KeptKind.AUDIT_ENTRY, 200)
    assert value("vocero_retention_deleted_total", kind="audit_entry") == before + 200
    before = value("vocero_provider_deletion_failures_total")
    metrics.provider_deletion_failed()
    assert value("vocero_provider_deletion_failures_total") == before + 1


def test_a_token_that_does_not_end_is_never_near_its_end() -> None:
    metrics.vault_token_ends(99.0)
    assert value("vocero_vault_token_expiry_timestamp_seconds") == 99
    metrics.vault_token_ends(None)
    assert value("vocero_vault_token_expiry_timestamp_seconds") == math.inf


@pytest.mark.parametrize(
    ("first", "files"),
    [("", 0), ("from service import metrics_files; metrics_files.take_place(3)", 4)],
    ids=["another process", "a worker"],
)
def test_only_a_worker_counts_in_files(tmp_path: Path, first: str, files: int) -> None:
    """The variable alone reaches the ops listener and what a worker starts, whose files nobody would remove."""
    subprocess.run(
        [sys.executable, "-c", f"{first}\nfrom service import metrics; metrics.secrets_rotated()"],
        cwd=ROOT,
        env=clean_environment(PROMETHEUS_MULTIPROC_DIR=str(tmp_path)),
        timeout=60,
        check=True,
    )
    made = sorted(path.name for path in tmp_path.iterdir())
    assert len(made) == files
    assert all(name.endswith("_3.db") for name in made)
