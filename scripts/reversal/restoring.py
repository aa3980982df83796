"""What a `restore` has to ask before it begins: which backup, and what would be lost by it.

The key decision: going back loses what was written since, so that is counted and has to be allowed, as with a
downgrade: the rows that a table has now and did not have in the backup.
"""

from __future__ import annotations

from collections.abc import Mapping

from scripts.reversal.confirming import check_allowed, confirm
from scripts.reversal.contents import Contents
from scripts.reversal.databases.scratch import scratch_database
from scripts.reversal.failures import NothingToDoError, RefusedError
from scripts.reversal.runs import Outcome, Run, State
from scripts.reversal.terms import Terms, this_operator
from scripts.reversal.world import World
from service import __version__


def prepare(world: World) -> Run:
    """Find the backup that is meant, have somebody agree to its restore, and turn the rollback round.

    Raises:
        UsageError: nobody has agreed, or to less than would be lost.
        RefusedError: the backup is not there, or is one of another database.
        NothingToDoError: it was restored already.
    """
    if world.options.backup is not None:
        return _prepare_file(world)
    run = world.runs.find(world.options.run)
    state = run.state()
    if state.terms.place != world.keeper.place:
        raise RefusedError(f"Rollback {run.id} is one of {state.terms.place}, not of {world.keeper.place}.")
    if state.goes_back and state.outcome is None:
        return run  # it is under way: go on
    if state.outcome in {Outcome.GIVEN_BACK, Outcome.RESTORED, Outcome.REFUSED, Outcome.LOCKED}:
        raise NothingToDoError(f"Rollback {run.id} has ended with the database as it was before.")
    if state.outcome is Outcome.FAILED_UNCHANGED or not state.has_changed_anything:
        raise NothingToDoError(f"Rollback {run.id} has changed nothing.")
    _agree(world, _lost_since(world, state))
    changed = world.options.changed_terms
    run.journal.add("turned", reason=f"restore, by {this_operator()}", asked=True, terms=changed)
    return run


def _prepare_file(world: World) -> Run:
    path = world.options.backup
    if path is None or not path.is_file():
        raise RefusedError(f"There is no backup {path}.")
    facts = world.keeper.look()
    with scratch_database(world.keeper, "file") as scratch:
        world.keeper.restore(path, scratch, lambda _: None)
        held = world.keeper.read_contents(scratch)
    _agree(world, _lost_against(world, held, {}))
    run = world.runs.begin(facts.revision, "backup")
    terms = Terms(
        id=run.id,
        place=world.keeper.place,
        current=facts.revision,
        target="backup",
        actor=this_operator(),
        version=__version__,
        losses={},
        allowed={},
        drain_seconds=world.options.drain_seconds,
        wait_seconds=world.options.wait_seconds,
        uses_redis=world.options.uses_redis,
        service_url=world.options.service_url or None,
        backup=str(path.absolute()),
    )
    run.journal.add("started", **terms.as_json())
    run.journal.add("turned", reason=f"restore of {path}, by {terms.actor}", asked=True)
    return run


def _lost_since(world: World, state: State) -> dict[str, int]:
    """Rows that are there now and were not when the backup was made."""
    kept = state.done.get("backup")
    if kept is None:
        return {}
    # Our own entry in the audit is no loss: going back writes another one.
    return _lost_against(world, Contents.from_json(kept["contents"]), {"audit_entries": int("audit" in state.done)})


def _lost_against(world: World, backup: Contents, known: Mapping[str, int]) -> dict[str, int]:
    """Rows that a table has now and has not in `backup`, and that are not `known` either."""
    then = {table: rows.count + known.get(table, 0) for table, rows in backup.tables.items()}
    now = world.keeper.count_rows()
    return {table: count - then.get(table, 0) for table, count in now.items() if count > then.get(table, 0)}


def _agree(world: World, losses: dict[str, int]) -> None:
    check_allowed(world.options, losses, "What was written since the backup")
    confirm(world.options, "The backup takes the place of what the database holds now.", "restore")
