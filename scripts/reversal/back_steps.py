"""The steps of a restore: the backup back into the database, and what was erased since erased again.

The key decision: what is there now is kept as a backup of its own before it is replaced. Whoever goes back at three in
the morning must not find at nine that this was the mistake.
"""

from __future__ import annotations

from pathlib import Path

from scripts.reversal import tombstones
from scripts.reversal.contents import Contents, differences
from scripts.reversal.databases.scratch import scratch_database
from scripts.reversal.failures import StepError
from scripts.reversal.forward_steps import some
from scripts.reversal.work import Found, Work, digest_of


def backup_check(work: Work) -> Found:
    """Make sure that the backup is whole: by its digest, or by restoring it if nobody has done so yet."""
    if not work.backup.is_file():
        raise StepError(f"The backup {work.backup} is not there.")
    made = work.found.get("backup")
    if made is not None and work.terms.backup is None:
        if digest_of(work.backup) != made["sha256"]:
            raise StepError(f"The backup {work.backup} was changed since it was made.")
        return {"contents": made["contents"]}
    with scratch_database(work.keeper, "copy") as scratch:
        work.keeper.restore(work.backup, scratch, work.tell)
        return {"contents": work.keeper.read_contents(scratch).as_json()}


def keeping(work: Work) -> Found:
    """Keep what is there now."""
    work.keeper.check_hold()
    path = _kept(work)
    work.keeper.back_up(path, work.tell)
    now = work.keeper.read_contents(work.keeper.url)
    orders = tombstones.export(work.keeper, now.tables, _orders(work))
    return {"file": str(path), "tombstones": orders, "revision": now.revision}


def restoration(work: Work) -> Found:
    """Put the backup in the place of what is there, and compare."""
    wanted = Contents.from_json(work.found["backup check"]["contents"])
    work.keeper.let_writers()
    work.keeper.restore(work.backup, work.keeper.url, work.tell)
    wrong = differences(wanted, work.keeper.read_contents(work.keeper.url))
    if wrong:
        raise StepError(f"The database is not what the backup holds: {some(wrong)}")
    return {"revision": wanted.revision}


def erasures(work: Work) -> Found:
    """Erase again what was erased since the backup was made."""
    work.keeper.let_writers()  # we are the one who writes now
    tables = work.keeper.count_rows()
    merged = tombstones.merge(work.keeper, tables, _orders(work))
    return {"tombstones": merged, "erased": tombstones.carry_out(work.keeper, tables, _orders(work))}


def _kept(work: Work) -> Path:
    return work.run.folder / "replaced.backup"


def _orders(work: Work) -> Path:
    return work.run.folder / "tombstones.json"
