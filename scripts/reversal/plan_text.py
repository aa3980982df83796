"""The plan as a person reads it: what, what it costs, what is in the way, and what to type next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from scripts.reversal.planning import Plan
from scripts.reversal.redis_side import Inventory
from service.redis_keys import CATALOGUE, Kind

WIDTH = 100
MOST_SQL_LINES = 60


def plan_lines(plan: Plan, *, with_command: bool = True) -> Iterator[str]:
    """The whole text; `with_command`: also what to type next."""
    yield "Plan of a rollback. Nothing has been changed."
    yield ""
    yield from _head(plan)
    yield from _steps(plan)
    yield from _losses(plan)
    yield from _sql(plan.sql)
    yield from _redis(plan)
    yield from _cost(plan)
    yield from _in_the_way(plan)
    if with_command:
        yield from _next(plan)


def _head(plan: Plan) -> Iterator[str]:
    facts = plan.facts
    yield f"  database   {facts.place}"
    yield f"             {facts.kind} {facts.version}, {size(facts.size)}"
    yield f"  schema     {facts.revision} now, {plan.target} afterwards"
    yield f"  this code  Vocero {plan.version}, knows schemas up to {plan.head}"
    yield f"  workers    {_workers(plan)}"


def _workers(plan: Plan) -> str:
    if not plan.workers:
        return "none report to Redis"
    talks = sum(worker.conversations for worker in plan.workers)
    nodes = len({worker.node for worker in plan.workers})
    versions = sorted({worker.version or "unknown" for worker in plan.workers})
    skew = "" if versions == [plan.version] else "  <- another version than this code"
    where = "one node" if nodes == 1 else f"{nodes} nodes"
    return f"{len(plan.workers)} on {where}, version {', '.join(versions)}, with {talks} conversations{skew}"


def _steps(plan: Plan) -> Iterator[str]:
    yield from _title("Steps back")
    for revision in plan.way:
        yield f"  {revision.name} -> {revision.below or 'base'}   {revision.headline}"
        yield from textwrap.wrap(revision.warning, WIDTH, initial_indent=" " * 17, subsequent_indent=" " * 17)


def _losses(plan: Plan) -> Iterator[str]:
    yield from _title("Lost")
    if not any(plan.losses.values()):
        yield "  nothing"
    for name, count in plan.losses.items():
        what = "values" if "." in name else "rows, and the table"
        yield f"  {name:<32}{count:>14,}  {what}"
    kept = {table: count for table, count in plan.rows.items() if table not in plan.losses}
    yield f"  kept: {sum(kept.values()):,} rows in {len(kept)} tables"


def _sql(statements: Sequence[str]) -> Iterator[str]:
    yield from _title("SQL")
    for line in statements[:MOST_SQL_LINES]:
        yield f"  {line}"
    if len(statements) > MOST_SQL_LINES:
        yield f"  ... and {len(statements) - MOST_SQL_LINES} lines more (all of them with --json)"


def _redis(plan: Plan) -> Iterator[str]:
    yield from _title("Redis")
    if plan.keys is None:
        yield "  not looked at"
        return
    for namespace in CATALOGUE:
        count = plan.keys.keys[namespace.prefix]
        if count or namespace.kind is Kind.CACHE:
            fate = "cleared" if namespace.kind is Kind.CACHE else "stays"
            yield f"  {namespace.prefix:<32}{count:>14,}  {fate:<9}{namespace.kind.value}: {namespace.holds}"
    yield from _foreign(plan.keys)


def _foreign(keys: Inventory) -> Iterator[str]:
    if keys.total is not None and keys.share == 1.0:
        yield f"  {'keys of others':<32}{max(0, keys.total - sum(keys.keys.values())):>14,}  stay"
    if keys.share < 1.0:
        yield f"  These are the numbers of a sample, {keys.share:.0%} of {keys.total:,} keys."


def _cost(plan: Plan) -> Iterator[str]:
    yield from _title("Time and space")
    yield f"  backup     at most {size(plan.backup_bytes)} in {plan.folder} ({size(plan.free_bytes)} free)"
    drain = f"{plan.drain_seconds:.0f} s for conversations to end, then " if plan.drain_seconds else ""
    yield f"  closed     {drain}about {plan.seconds:.0f} s for everything else"


def _in_the_way(plan: Plan) -> Iterator[str]:
    yield from _title("In the way")
    if not plan.obstacles:
        yield "  nothing"
    for obstacle in plan.obstacles:
        mark = "REFUSED" if obstacle.refuses else "mind"
        remedy = f" -> {obstacle.remedy}" if obstacle.remedy else ""
        yield from textwrap.wrap(
            obstacle.text + remedy, WIDTH, initial_indent=f"  {mark:<9}", subsequent_indent=" " * 11,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def _next(plan: Plan) -> Iterator[str]:
    yield ""
    if plan.is_refused:
        yield "Mend what is REFUSED, and plan again. Then it will be:"
    else:
        yield "To do it, type:"
    yield f"  {plan.command}"


def _title(text: str) -> Iterator[str]:
    yield ""
    yield text


def size(count: int) -> str:
    """Bytes for a person."""
    number = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1000
    return ""
