"""The steps behind a change of the database, whichever way it went: caches, health, opening, the audit, the report."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any

from scripts.reversal import redis_side
from scripts.reversal.failures import StepError
from scripts.reversal.report import write_report
from scripts.reversal.work import Found, Work
from service.errors import ServiceUnavailableError
from service.storage import AuditFilter, AuditLog, open_database
from service.storage.admin_models import AuditEntryRow

HEALTH_SECONDS = 5.0
SETTLE_SECONDS = 8.0
"""A worker looks at what it needs from time to time: for so long it may tell of the schema that is no more."""

_AGAIN_SECONDS = 0.5
BUSY_SECONDS = 5.0
ACTION = "rollback"


def cache(work: Work) -> Found:
    """Clear what is computed again: it may have been computed from what is gone."""
    if work.store is None:
        work.note("Redis was not cleaned (--no-redis).")
        return {}
    return {"cleared": redis_side.clear_caches(work.store, lambda cleared: work.tell(f"{cleared:,} keys"))}


def health(work: Work) -> Found:
    """Ask the database, Redis and the service before anybody is let in again."""
    facts = work.keeper.look()
    wanted = work.terms.current if work.run.state().goes_back else work.terms.target
    if facts.revision != wanted and work.terms.backup is None:
        raise StepError(f"The database has schema {facts.revision}, not {wanted}.")
    if work.store is not None:
        work.store.ping()
    if work.terms.service_url is not None:
        return {"service": _ask(work.terms.service_url)}
    return {}


_NO_PARTS = frozenset({"status", "reason", "maintenance", "draining", "dependencies", "workers"})


def _ask(url: str) -> dict[str, Any]:
    """The service's own view: everything has to be well, but for the maintenance and a worker that leaves.

    Raises:
        StepError: it is not, or does not answer.
    """
    address = f"{url.rstrip('/')}/readyz"
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        said = _readiness(address, url)
        states: dict[str, Any] = {name: value for name, value in said.items() if name not in _NO_PARTS}
        sick = {name: value for name, value in states.items() if value != "ok"}
        if states and not sick:
            return states
        if time.monotonic() > end:
            raise StepError(f"{address} says: {', '.join(f'{name} {value}' for name, value in sick.items()) or said}.")
        time.sleep(_AGAIN_SECONDS)


def _readiness(address: str, url: str) -> dict[str, Any]:
    request = urllib.request.Request(address, headers={"Accept": "application/json"})  # noqa: S310 (checked below)
    if request.type not in {"http", "https"}:
        raise StepError(f"--service-url {url}: this is not an http address.")
    try:
        with urllib.request.urlopen(request, timeout=HEALTH_SECONDS) as answer:  # noqa: S310 (checked above)
            return _read(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return _read(refused)
    except OSError as exc:
        raise StepError(
            f"{address} does not answer: {getattr(exc, 'reason', exc)}. If it need not: resume --service-url ''"
        ) from None


def _read(answer: http.client.HTTPResponse | urllib.error.HTTPError) -> dict[str, Any]:
    try:
        said = json.load(answer)
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {"answer": f"HTTP {answer.status}"}


def reopening(work: Work) -> None:
    """Let people in again."""
    work.keeper.let_writers()
    left = work.closing.end(work.tell) if work.closing is not None else ""
    if left:
        work.note(left)


def audit(work: Work) -> Found:
    """Write down in the audit what was done, once, if the schema has an audit."""
    if not _has_audit(work):
        work.note("This schema has no audit that this code knows: the report is the only record.")
        return {}
    database = open_database(work.keeper.url, busy_seconds=BUSY_SECONDS)
    try:
        log = AuditLog(database)
        wanted = AuditFilter(action=ACTION, subject=work.terms.id)
        there = log.search(wanted, limit=1).items
        went_back = work.run.state().goes_back
        if not there or went_back != ("went back" in (there[0].after or "")):
            there = (_append(log, work, went_back=went_back),)
        return {"sequence": there[0].sequence}
    except ServiceUnavailableError as exc:
        raise StepError(f"The audit's entry could not be written: {exc.message}") from None
    finally:
        database.close()


def _has_audit(work: Work) -> bool:
    """Whether the schema that is there now has every column of the audit."""
    name = AuditEntryRow.__tablename__
    wanted = {f"column {name}.{column.name} " for column in AuditEntryRow.__table__.columns}
    lines = work.keeper.read_schema(work.keeper.url)
    return all(any(line.startswith(column) for line in lines) for column in wanted)


def _append(log: AuditLog, work: Work, *, went_back: bool) -> Any:
    terms = work.terms
    lost = work.found.get("writers", {}).get("losses", terms.losses)
    after: dict[str, Any] = {"revision": terms.target, "lost": dict(lost)}
    if went_back:
        after = {"revision": work.keeper.look().revision, "went back": True}
    return log.append(
        actor=terms.actor, action=ACTION, subject=terms.id, before={"revision": terms.current}, after=after
    )


def report(work: Work) -> Found:
    """Write the report."""
    write_report(work.run)
    return {"file": str(work.run.report)}
