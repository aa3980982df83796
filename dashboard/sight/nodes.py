"""Every node and worker: version, load, what is wrong with what it needs, and whether it is about to leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from service.pool_reports import WorkerReport

OK = "ok"


class Mark(StrEnum):
    """What a worker does about newcomers."""

    SERVING = "serving"
    DRAINING = "draining"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True)
class WorkerSight:
    """A worker. `load` is its share of taken places, None: it does not say how many it has.

    `wrong` has each dependency that is not well, and why; `loop_lag_seconds` is the largest of the last seconds.
    """

    name: str
    node: str
    worker: str
    version: str
    mark: Mark
    conversations: int
    capacity: int
    load: float | None
    loop_lag_seconds: float
    writes_pending: int
    started_at: float | None
    reported_at: float
    wrong: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeSight:
    """A node, with its workers by name."""

    node: str
    conversations: int
    capacity: int
    load: float | None
    workers: tuple[WorkerSight, ...]


@dataclass(frozen=True)
class FleetSight:
    """All of them together. `marked` counts workers by mark, `versions` counts them by version."""

    workers: int
    conversations: int
    capacity: int
    load: float | None
    versions: Mapping[str, int]
    marked: Mapping[str, int]
    wrong: Mapping[str, int]
    nodes: tuple[NodeSight, ...]


def see_fleet(reports: Iterable[WorkerReport]) -> FleetSight:
    """The nodes by name, as their workers report."""
    workers = sorted((_see(report) for report in reports), key=lambda each: (each.node, each.worker))
    nodes = tuple(_node(node, tuple(group)) for node, group in groupby(workers, key=lambda each: each.node))
    conversations, capacity = _sums(workers)
    return FleetSight(
        workers=len(workers),
        conversations=conversations,
        capacity=capacity,
        load=_load(conversations, capacity),
        versions=_counted(worker.version or "?" for worker in workers),
        marked={mark.value: sum(worker.mark is mark for worker in workers) for mark in Mark},
        wrong=_counted(name for worker in workers for name in worker.wrong),
        nodes=nodes,
    )


def _node(node: str, workers: tuple[WorkerSight, ...]) -> NodeSight:
    conversations, capacity = _sums(workers)
    return NodeSight(node, conversations, capacity, _load(conversations, capacity), workers)


def _see(report: WorkerReport) -> WorkerSight:
    return WorkerSight(
        name=report.name,
        node=report.node,
        worker=report.worker,
        version=report.version,
        mark=_mark(report),
        conversations=report.conversations,
        capacity=report.capacity,
        load=_load(report.conversations, report.capacity),
        loop_lag_seconds=report.loop_lag_seconds,
        writes_pending=report.writes_pending,
        started_at=report.started_at or None,
        reported_at=report.reported_at,
        wrong={name: state for name, state in report.dependencies.items() if state != OK},
    )


def _mark(report: WorkerReport) -> Mark:
    if report.draining:
        return Mark.DRAINING
    return Mark.MAINTENANCE if report.maintenance else Mark.SERVING


def _sums(workers: Iterable[WorkerSight]) -> tuple[int, int]:
    found = list(workers)
    return sum(each.conversations for each in found), sum(each.capacity for each in found)


def _load(conversations: int, capacity: int) -> float | None:
    return conversations / capacity if capacity > 0 else None


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
