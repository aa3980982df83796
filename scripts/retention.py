"""`python -m scripts.retention run|status`: delete what has been kept for long enough, as the service does by itself.

`run` is for operators, and for cron where no service runs: it deletes what is too old, carries out what is to be
erased, asks ElevenLabs for the deletions that it owes, and fetches costs. `status` tells when that was done last, and
what is due.

Exit codes: 0 done; 1 failed, run it again; 2 usage; 3 refused, because the service is in maintenance; 4 done in part:
what is left is the next run's; 5 another process is at it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from scripts.stores import DONE, TAKEN, UNFINISHED, Stores, open_elevenlabs, open_stores, told
from service.keeping.keeping_jobs import COSTS, ERASURE, RETENTION, make_job_runner
from service.keeping.retention import periods_of
from service.storage import JobRun, JobRuns
from service.storage.conversation_export import moment
from service.storage.overdue import OverdueRecords
from service.storage.tombstone_upkeep import TombstoneUpkeep


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    options = _parser().parse_args(arguments)
    return told(_run if options.command == "run" else lambda: _show_status(as_json=options.json))


def _run() -> int:
    with open_stores() as stores:
        stores.refuse_in_maintenance()
        with open_elevenlabs(stores.settings) as elevenlabs:
            runner = make_job_runner(
                stores.settings,
                stores.database,
                stores.redis,
                elevenlabs,
                is_shut=lambda: stores.maintenance is not None,
            )
            return max([_tell(job.name, runner.run(job)) for job in runner.jobs], default=DONE)


def _tell(name: str, result: Mapping[str, Any] | None) -> int:
    if result is None:
        print(f"{name}: another process is at it", file=sys.stderr)
        return TAKEN
    print(f"{name}: {_in_words(result)}")
    return DONE if result.get("complete", True) else UNFINISHED


def _in_words(result: Mapping[str, Any]) -> str:
    numbers = [f"{value} {name.replace('_', ' ')}" for name, value in result.items() if name != "complete"]
    return ", ".join(numbers) + ("" if result.get("complete", True) else "; there is more, for the next run")


# --- Status --------------------------------------------------------------------------------------------------------


def _show_status(*, as_json: bool) -> int:
    with open_stores() as stores:
        status = _status(stores)
    print(json.dumps(status, indent=2) if as_json else "\n".join(_lines(status)))
    return DONE


def _status(stores: Stores) -> dict[str, Any]:
    upkeep, job_runs = TombstoneUpkeep(stores.database), JobRuns(stores.database)
    open_ = upkeep.open()
    interval = timedelta(seconds=stores.settings.retention_interval_seconds)
    overdue = OverdueRecords(stores.database).count(periods_of(stores.settings).borders(open_.now))
    retention = job_runs.last(RETENTION)
    return {
        "now": moment(open_.now),
        "maintenance": None if stores.maintenance is None else stores.maintenance.reason,
        "jobs": {name: _job(job_runs.last(name), open_.now) for name in (RETENTION, ERASURE, COSTS)},
        "next_retention": _next(retention, interval, open_.now),
        "due": {
            name: getattr(overdue, name) for name in ("utterances", "conversations", "audit_entries", "tombstones")
        },
        "orders_open": open_.orders,
        "provider_deletions_open": open_.deletions,
        "provider_deletions_due": open_.due,
    }


def _job(run: JobRun | None, now: datetime) -> dict[str, Any]:
    if run is None:
        return {"last": None, "result": None, "held_by": None}
    holds = run.lease_until is not None and run.lease_until > now
    return {
        "last": None if run.finished_at is None else moment(run.finished_at),
        "result": run.result,
        "held_by": run.holder if holds else None,
    }


def _next(last: JobRun | None, interval: timedelta, now: datetime) -> str:
    if last is None or last.finished_at is None or last.finished_at + interval <= now:
        return "as soon as a service runs"
    return f"about {moment(last.finished_at + interval)}"


def _lines(status: Mapping[str, Any]) -> list[str]:
    lines = [] if status["maintenance"] is None else [f"in maintenance: {status['maintenance']}; no job runs"]
    for name, job in status["jobs"].items():
        told_last = "never yet" if job["last"] is None else f"{job['last']}: {_in_words(job['result'] or {})}"
        running = "" if job["held_by"] is None else f" (runs now, on {job['held_by']})"
        lines.append(f"{name:<10} last: {told_last}{running}")
    due = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in status["due"].items())
    theirs = f"{status['provider_deletions_open']} conversations at ElevenLabs"
    return [
        *lines,
        f"next retention: {status['next_retention']}",
        f"too old now: {due}",
        f"to be erased: {status['orders_open']} orders here, {theirs} ({status['provider_deletions_due']} due now)",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.retention", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="do what is due now")
    status = commands.add_parser("status", help="tell when it was done last, and what is due")
    status.add_argument("--json", action="store_true", help="for machines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
