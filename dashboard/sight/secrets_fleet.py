"""How good the secrets are that each worker has, and in sum: never a value, for no worker tells one.

The key decision: the sum is the worst of each (the worst state, the oldest reading, the lease that ends first), since
whoever is paged asks what breaks next. Workers that differ from most of the others are marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from service.pool_reports import WorkerReport

STATES_FROM_BEST = ("fresh", "stale", "missing", "expired")


@dataclass(frozen=True)
class WorkerSecrets:
    """What one worker tells. Times are Unix times; `is_failing`: the newest attempt to read them was in vain."""

    worker: str
    source: str
    state: str
    version: int
    names: tuple[str, ...]
    read_at: float | None
    age_seconds: float | None
    lease_ends_at: float | None
    last_error: str | None
    last_cause: str | None
    failed_at: float | None
    is_failing: bool
    differs: bool = False


@dataclass(frozen=True)
class SecretsSight:
    """All workers together. `silent` are those of an earlier version, which tell nothing of their secrets."""

    workers: tuple[WorkerSecrets, ...]
    silent: tuple[str, ...]
    state: str | None
    sources: tuple[str, ...]
    versions: tuple[int, ...]
    names: tuple[str, ...]
    read_at: float | None
    lease_ends_at: float | None
    newest_failure: WorkerSecrets | None

    @property
    def differ(self) -> bool:
        return any(worker.differs for worker in self.workers)


def look_at_secrets(reports: Iterable[WorkerReport]) -> SecretsSight:
    """What these workers tell of their secrets."""
    told: list[WorkerSecrets] = []
    silent: list[str] = []
    for report in reports:
        name = report.name
        if report.secrets is None:
            silent.append(name)
        else:
            told.append(_worker(name, report.secrets))
    workers = _marked(told)
    failures = [worker for worker in workers if worker.failed_at is not None]
    return SecretsSight(
        workers=workers,
        silent=tuple(silent),
        state=max((worker.state for worker in workers), key=_badness, default=None),
        sources=tuple(sorted({worker.source for worker in workers})),
        versions=tuple(sorted({worker.version for worker in workers})),
        names=tuple(sorted({name for worker in workers for name in worker.names})),
        read_at=min((worker.read_at for worker in workers if worker.read_at is not None), default=None),
        lease_ends_at=min((at.lease_ends_at for at in workers if at.lease_ends_at is not None), default=None),
        newest_failure=max(failures, key=lambda worker: worker.failed_at or 0.0, default=None),
    )


def _worker(name: str, told: Mapping[str, Any]) -> WorkerSecrets:
    read_at, failed_at = told.get("read_at"), told.get("failed_at")
    return WorkerSecrets(
        worker=name,
        source=str(told.get("source", "")),
        state=str(told.get("state", "missing")),
        version=int(told.get("version") or 0),
        names=tuple(sorted(str(secret) for secret in told.get("names") or ())),
        read_at=read_at,
        age_seconds=told.get("age_seconds"),
        lease_ends_at=told.get("lease_ends_at"),
        last_error=told.get("last_error"),
        last_cause=told.get("last_cause"),
        failed_at=failed_at,
        is_failing=failed_at is not None and (read_at is None or failed_at > read_at),
    )


def _marked(workers: list[WorkerSecrets]) -> tuple[WorkerSecrets, ...]:
    """These workers, with a mark on those that have something else than most."""
    kinds = Counter(_kind(worker) for worker in workers)
    if len(kinds) < 2:
        return tuple(workers)
    usual = max(kinds, key=lambda kind: (kinds[kind], kind))
    return tuple(replace(worker, differs=True) if _kind(worker) != usual else worker for worker in workers)


def _kind(worker: WorkerSecrets) -> tuple[int, str, tuple[str, ...]]:
    """What should be the same everywhere; between equals, the higher version is taken for the usual one."""
    return worker.version, worker.source, worker.names


def _badness(state: str) -> int:
    """A state that we do not know yet is the worst: somebody should look."""
    return STATES_FROM_BEST.index(state) if state in STATES_FROM_BEST else len(STATES_FROM_BEST)
