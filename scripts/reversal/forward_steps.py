"""The steps of a rollback up to the moment when the database has its old schema, each safe to be done again.

The key decision: the downgrade is rehearsed. Its backup is restored into a scratch database anyway, to prove that it
can be; there the same downgrade is run first, with all the real rows, and compared with a database made from nothing.
So what could go wrong has gone wrong before the real database is touched, and what has to come out is known to the row.
"""

from __future__ import annotations

import time

from migrations import runner
from scripts.reversal import redis_side
from scripts.reversal.chain import Revision
from scripts.reversal.contents import Contents, differences, foreign_tables, schema_differences
from scripts.reversal.databases.scratch import scratch_database
from scripts.reversal.failures import MismatchError, RefusedError, StepError
from scripts.reversal.losses import as_arguments, count_losses, not_allowed, unannounced
from scripts.reversal.work import Found, Work, digest_of

SPACE = {"sqlite": 3, "postgresql": 1}
"""How often the size of the database has to be free beside the journal: the backup, and scratch files of SQLite's."""

SHOWN_DIFFERENCES = 3


def way_of(work: Work) -> tuple[Revision, ...]:
    """The revisions to undo."""
    return work.chain.way_down(work.terms.current, work.terms.target)


def preflight(work: Work) -> Found:
    """Look at everything that could come in the way; change nothing."""
    facts = work.keeper.look()
    if facts.revision != work.terms.current:
        raise RefusedError(f"The database has schema {facts.revision} by now, not {work.terms.current}: plan anew.")
    way = way_of(work)
    stuck = next((revision for revision in way if revision.is_irreversible), None)
    if stuck is not None:
        raise RefusedError(
            f"Revision {stuck.name} cannot be undone. Go back with a backup from before it:"
            " python -m scripts.rollback restore --backup FILE"
        )
    if work.store is not None:
        redis_side.check(work.store)
    needs = facts.size * SPACE[facts.kind.lower()]
    for refusal in work.keeper.refusals(needs=needs, folder=work.run.folder):
        raise RefusedError(refusal)
    _check_losses(work, way)
    return {"bytes": facts.size, "database": f"{facts.kind} {facts.version}"}


def lock(work: Work) -> None:
    """Keep every other rollback out, and make sure that the schema is what its revision says."""
    work.keeper.lock()
    if work.terms.backup is not None or "downgrade" in work.run.state().begun:
        return
    with scratch_database(work.keeper, "fresh") as fresh:
        runner.upgrade(fresh, work.terms.current, steps=work.steps)
        wanted = work.keeper.read_schema(fresh)
    found = work.keeper.read_schema(work.keeper.url)
    foreign = foreign_tables(wanted, found)
    if foreign:
        raise RefusedError(
            f"The database holds tables that are not Vocero's ({', '.join(foreign)}), which a restore would set back"
            " too: move them to a schema or database of their own."
        )
    different = schema_differences(wanted, found)
    if different:
        raise RefusedError(f"The schema is not that of revision {work.terms.current}: {some(different)}")


def maintenance(work: Work) -> Found:
    """Close the service, and wait until nobody is in it."""
    if work.closing is None:
        work.note("The service was not closed from here (--no-redis).")
        return {}
    work.closing.begin()
    return work.closing.wait_until_empty(work.tell)


def writers(work: Work) -> Found:
    """Keep every writer out, and see how much is lost now that nobody adds to it."""
    work.keeper.hold_writers(work.terms.wait_seconds, work.tell)
    state = work.run.state()
    if state.goes_back or "downgrade" in state.done:
        return {name: value for name, value in work.found.get("writers", {}).items() if name == "losses"}
    return {"losses": _check_losses(work, way_of(work))}


def backup(work: Work) -> Found:
    """Make a backup, and note what is in the database."""
    work.keeper.check_hold()
    work.keeper.back_up(work.own_backup, work.tell)
    before = work.keeper.read_contents(work.keeper.url)
    work.keeper.check_hold()
    return {
        "file": str(work.backup),
        "bytes": work.backup.stat().st_size,
        "sha256": digest_of(work.backup),
        "contents": before.as_json(),
    }


def rehearsal(work: Work) -> Found:
    """Restore the backup beside the database, compare, and run the downgrade there."""
    before = Contents.from_json(work.found["backup"]["contents"])
    with scratch_database(work.keeper, "copy") as scratch, scratch_database(work.keeper, "fresh") as fresh:
        work.tell("restoring the backup")
        work.keeper.restore(work.backup, scratch, lambda _: None)
        wrong = differences(before, work.keeper.read_contents(scratch))
        if wrong:
            raise StepError(f"The backup gives something else when it is restored: {some(wrong)}")
        work.tell("running the downgrade on the copy")
        began = time.monotonic()
        runner.downgrade(scratch, work.terms.target, steps=work.steps)
        seconds = time.monotonic() - began
        after = work.keeper.read_contents(scratch)
        runner.upgrade(fresh, work.terms.target, steps=work.steps)
        wrong = schema_differences(work.keeper.read_schema(fresh), after.schema)
        if wrong:
            raise StepError(f"The downgrade does not give the schema of {work.terms.target}: {some(wrong)}")
    wrong = unannounced(before, after, way_of(work))
    if wrong:
        raise StepError(f"The downgrade loses what it does not announce: {some(wrong)}")
    return {"contents": after.as_json(), "downgrade_seconds": round(seconds, 3)}


def downgrade(work: Work) -> None:
    """Bring the schema down, all steps in one transaction."""
    work.keeper.check_hold()
    work.keeper.let_writers()
    work.may_have_committed = True
    runner.downgrade(work.keeper.url, work.terms.target, steps=work.steps)
    work.downgraded_here = True


def verification(work: Work) -> Found:
    """Compare the database with what the rehearsal gave, whose schema was that of one made from nothing."""
    expected = Contents.from_json(work.found["rehearsal"]["contents"])
    found = work.keeper.read_contents(work.keeper.url)
    wrong = differences(expected, found)
    if wrong and work.downgraded_here:
        raise MismatchError(f"The database is not what the rehearsal gave: {some(wrong)}")
    if wrong:
        _judge_later(work, expected, found)
    return {"tables": {table: rows.count for table, rows in found.tables.items()}}


def _judge_later(work: Work, expected: Contents, found: Contents) -> None:
    """After an interruption somebody may have written: only a loss or another schema is wrong then."""
    wrong = schema_differences(expected.schema, found.schema)
    wrong += [
        f"{table} has {found.tables[table].count} rows, not {rows.count}"
        for table, rows in expected.tables.items()
        if table in found.tables and found.tables[table].count < rows.count
    ]
    if wrong:
        raise StepError(
            f"The database is not what the rehearsal gave: {some(wrong)}. If nobody can explain that,"
            " go back: python -m scripts.rollback restore"
        )
    work.note("Somebody has written to the database since the downgrade, while this rollback was interrupted.")


def _check_losses(work: Work, way: tuple[Revision, ...]) -> dict[str, int]:
    losses = count_losses(work.keeper, way, work.keeper.count_rows())
    too_many = not_allowed(losses, work.terms.allowed)
    if too_many:
        said = ", ".join(f"{count:,} in {name}" for name, count in too_many.items())
        raise RefusedError(f"More would be lost than was allowed: {said}. Allow it with{as_arguments(losses)}")
    return losses


def some(lines: list[str]) -> str:
    more = f" (and {len(lines) - SHOWN_DIFFERENCES} more)" if len(lines) > SHOWN_DIFFERENCES else ""
    return "; ".join(lines[:SHOWN_DIFFERENCES]) + more
