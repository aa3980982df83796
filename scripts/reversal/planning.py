"""What a rollback would do, lose and meet: read from the database, Redis and the disk without changing any of them.

The key decision: whatever cannot be found out is said in its place and does not keep the rest from being shown. A plan
is read when things are broken already.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import redis

from scripts.reversal import closing, redis_side, sql_preview
from scripts.reversal.chain import Revision
from scripts.reversal.conductor import RESUME
from scripts.reversal.databases import Facts
from scripts.reversal.failures import EXPECTED, RefusedError, one_line
from scripts.reversal.forward_steps import SPACE
from scripts.reversal.losses import as_arguments, count_losses
from scripts.reversal.options import PROGRAM
from scripts.reversal.redis_side import Inventory
from scripts.reversal.world import World
from service import __version__
from service.pool_reports import list_reports

# Bytes a second from the first backup to the end of the verification, measured (docs/rollback.md, "How long it takes").
RATES = {"SQLite": 14_000_000, "PostgreSQL": 25_000_000}
FIXED_SECONDS = {"SQLite": 2.0, "PostgreSQL": 4.0}


@dataclass(frozen=True)
class Obstacle:
    """Something in the way. `refuses`: a rollback would not even begin; else it would wait, or you should know."""

    text: str
    refuses: bool = False
    remedy: str = ""


@dataclass(frozen=True)
class Worker:
    """A worker that reports: what it runs, and who is in it."""

    node: str
    worker: str
    version: str
    conversations: int
    maintenance: bool | None


@dataclass(frozen=True)
class Plan:
    """Everything that a person or a machine should know before `apply`. `seconds` is without the drain."""

    facts: Facts
    target: str
    head: str
    way: Sequence[Revision]
    rows: Mapping[str, int]
    losses: Mapping[str, int]
    sql: Sequence[str]
    keys: Inventory | None
    workers: Sequence[Worker]
    backup_bytes: int
    free_bytes: int
    seconds: float
    drain_seconds: float
    folder: str
    command: str
    obstacles: Sequence[Obstacle] = field(default=())
    version: str = __version__

    @property
    def is_refused(self) -> bool:
        """Whether `apply` would begin at all."""
        return any(obstacle.refuses for obstacle in self.obstacles)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {**asdict(self), "is_refused": self.is_refused}


def find_target(world: World, current: str) -> str:
    """The revision that is meant by the options.

    Raises:
        RefusedError: there is none such.
    """
    options = world.options
    wanted = world.revision_of_release(options.release) if options.release else options.target or "-1"
    return world.chain.resolve(wanted, current)


def make_plan(world: World) -> Plan:
    """Look at everything.

    Raises:
        RefusedError: the database cannot be read, or there is no way down to the target.
        NothingToDoError: it is there already.
    """
    facts = world.keeper.look()
    target = find_target(world, facts.revision)
    way = world.chain.way_down(facts.revision, target)
    rows = world.keeper.count_rows()
    losses = count_losses(world.keeper, way, rows)
    obstacles = _obstacles(world, facts, way)
    keys, workers = _redis(world, obstacles)
    folder = _existing(world.options.journal_folder)
    return Plan(
        facts=facts,
        target=target,
        head=world.chain.head,
        way=way,
        rows=rows,
        losses=losses,
        sql=sql_preview.preview(facts.revision, target, is_sqlite=facts.kind == "SQLite", steps=world.steps),
        keys=keys,
        workers=workers,
        backup_bytes=facts.size,
        free_bytes=shutil.disk_usage(folder).free,
        seconds=FIXED_SECONDS[facts.kind] + facts.size / RATES[facts.kind],
        drain_seconds=world.options.drain_seconds if any(worker.conversations for worker in workers) else 0.0,
        folder=str(world.options.journal_folder),
        command=f"{PROGRAM} apply --to {target}{as_arguments(losses)}{world.options.same_again}",
        obstacles=obstacles,
    )


def _obstacles(world: World, facts: Facts, way: Sequence[Revision]) -> list[Obstacle]:
    found = [
        Obstacle(f"Revision {revision.name} cannot be undone.", True, f"{PROGRAM} restore --backup FILE")
        for revision in way
        if revision.is_irreversible
    ]
    if facts.revision != world.chain.head:
        found.append(
            Obstacle(f"This code is newer than the schema: it would bring {world.chain.head}, the database has"
                     f" {facts.revision}.")
        )  # fmt: skip
    last = world.runs.last()
    state = last.state() if last is not None else None
    if state is not None and state.outcome is None and state.has_changed_anything:
        found.append(Obstacle(f"Rollback {state.terms.id} has stopped half-way.", True, RESUME))
    folder = _existing(world.options.journal_folder)
    try:
        needs = facts.size * SPACE[facts.kind.lower()]
        found += [Obstacle(text, True) for text in world.keeper.refusals(needs=needs, folder=folder)]
        found += [Obstacle(f"{blocker.what}.", remedy=blocker.remedy) for blocker in world.keeper.blockers()]
    except EXPECTED as exc:
        found.append(Obstacle(f"The database could not be asked who uses it: {one_line(exc)}"))
    return found


def _redis(world: World, obstacles: list[Obstacle]) -> tuple[Inventory | None, list[Worker]]:
    if world.store is None:
        obstacles.append(Obstacle("Redis is left alone (--no-redis): stop the service yourself, or it will write."))
        return None, []
    try:
        redis_side.check(world.store)
        return redis_side.take_inventory(world.store), _workers(world.store, obstacles)
    except RefusedError as exc:
        obstacles.append(Obstacle(str(exc), True))
    except redis.RedisError as exc:
        obstacles.append(Obstacle(one_line(exc), True))
    return None, []


def _workers(store: redis.Redis, obstacles: list[Obstacle]) -> list[Worker]:
    workers = [
        Worker(report.node, report.worker, report.version, report.conversations, report.maintenance)
        for report in list_reports(store, forget_dead=False)
    ]
    old = [worker for worker in workers if worker.maintenance is None]
    if old:
        obstacles.append(
            Obstacle(
                f"Worker {old[0].worker} on {old[0].node} is too old to be closed from here.", True, "stop that service"
            )
        )
    found = closing.find(store)
    if found is not None:
        obstacles.append(Obstacle(f"The service is in a maintenance that {found.by} began: {found.reason}."))
    return workers


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.is_dir())
