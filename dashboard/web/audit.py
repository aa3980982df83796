"""The audit: who changed what, before and after, when and from where; its export, and the proof that it is whole.

The key decision: a file of it is written into the audit itself before its first line leaves, and an export goes from
the newest entry that was there then to the oldest, so what is added meanwhile neither repeats nor hides one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from dashboard.sight.audit_changes import changes_between
from dashboard.web.answers import json_answer, page
from dashboard.web.audit_trail import note
from dashboard.web.context import parts
from dashboard.web.errors import in_words
from dashboard.web.looks import language, worded
from dashboard.words import translate
from dashboard.words.said import Said
from service.errors import RequestError, ServiceUnavailableError, TooManyRequestsError
from service.storage import AuditEntry, AuditFilter, AuditLog, ChainReport, Page

PAGE_ROWS = 50
MOST_ROWS = 200
LONGEST = {"actor": 200, "action": 64, "subject": 300}
LONGEST_MOMENT = 40
LONGEST_CURSOR = 18

_verifying = threading.Lock()


def blueprint() -> Blueprint:
    routes = Blueprint("audit", __name__)
    routes.get("/audit")(show)
    routes.get("/api/audit")(listed)
    routes.get("/api/audit/export")(export)
    routes.get("/api/audit/verify")(verify)
    return routes


def show() -> ResponseReturnValue:
    """The page: a filter, a page of entries, and where the next one is."""
    wanted, problem, unavailable = AuditFilter(), None, False
    found: Page[AuditEntry] = Page((), None)
    try:
        wanted = _wanted()
        found = parts().audit.search(wanted, cursor=_cursor(), limit=PAGE_ROWS)
    except ServiceUnavailableError:
        unavailable = True
    except RequestError as exc:
        problem = in_words(exc)
    return page(
        "audit.html",
        "audit.title",
        rows=[(entry, changes_between(entry.before, entry.after)) for entry in found.items],
        filters=_as_query(wanted),
        next_page=_as_query(wanted) | {"cursor": found.next_cursor} if found.next_cursor else None,
        is_first_page=_cursor() is None,
        problem=problem,
        unavailable=unavailable,
        action_words=_action_words,
    )


def listed() -> ResponseReturnValue:
    """The same entries as JSON."""
    found = parts().audit.search(_wanted(), cursor=_cursor(), limit=_limit())
    return json_answer({"entries": [_told(entry) for entry in found.items], "next_cursor": found.next_cursor})


def export() -> ResponseReturnValue:
    """All that meets the filter as JSON lines, newest first, as the hashes cover it."""
    wanted, audit = _wanted(), parts().audit
    newest = audit.search(wanted, limit=MOST_ROWS)  # before the answer begins: later nobody could be told of a failure
    note("audit.exported", "audit", after=_as_query(wanted))
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return Response(
        _lines(audit, wanted, newest),
        mimetype="application/x-ndjson",
        headers={"Content-Disposition": f'attachment; filename="vocero-audit-{moment}.jsonl"'},
    )


def verify() -> ResponseReturnValue:
    """Check the whole chain; one at a time, for it reads all there is."""
    if not _verifying.acquire(blocking=False):
        raise TooManyRequestsError(Said("audit.error.busy"), retry_after=5.0)
    began = time.monotonic()
    try:
        report = parts().audit.verify_chain()
    finally:
        _verifying.release()
    return json_answer({**_chain(report), "seconds": round(time.monotonic() - began, 3)})


def _action_words(action: str) -> str:
    """What the action is called in the reader's language; nothing for one that has no words."""
    key = f"audit.action_{action.replace('.', '_')}"
    said = translate(key, language())
    return "" if said == key else said


def _lines(audit: AuditLog, wanted: AuditFilter, found: Page[AuditEntry]) -> Iterator[bytes]:
    """A database that goes away breaks the answer off, which a browser shows as a failed download."""
    while True:
        yield b"".join(orjson.dumps(_line(entry)) + b"\n" for entry in found.items)
        if found.next_cursor is None:
            return
        found = audit.search(wanted, cursor=found.next_cursor, limit=MOST_ROWS)


def _line(entry: AuditEntry) -> dict[str, Any]:
    """All fields in the order and form in which `entry_hash` takes them."""
    return {**asdict(entry), "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds")}


def _told(entry: AuditEntry) -> dict[str, Any]:
    changes = changes_between(entry.before, entry.after)
    return {**_line(entry), "changes": [asdict(change) for change in changes.shown]}


def _chain(report: ChainReport) -> dict[str, Any]:
    told = {"is_whole": report.is_whole, **asdict(report)}
    if report.problem_kind is not None:
        first, last = report.missing
        told["problem"] = worded(Said(f"audit.problem_{report.problem_kind.value}", first=first, last=last))
    return told


def _wanted() -> AuditFilter:
    texts = {name: _text(name, longest) for name, longest in LONGEST.items()}
    return AuditFilter(**texts, since=_moment("since"), until=_moment("until"))


def _text(name: str, longest: int) -> str | None:
    value = request.args.get(name, "").strip()
    if len(value) > longest:
        raise RequestError(Said("audit.error.too_long", longest=longest), code="invalid_filter", param=name)
    return value or None


def _moment(name: str) -> datetime | None:
    """A moment of the query; one without a zone is UTC."""
    value = _text(name, LONGEST_MOMENT)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise RequestError(Said("audit.error.moment"), code="invalid_filter", param=name) from None


def _cursor() -> str | None:
    return _text("cursor", LONGEST_CURSOR)


def _limit() -> int:
    value = _text("limit", 4)
    if value is None:
        return PAGE_ROWS
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= MOST_ROWS):
        raise RequestError(Said("common.error.whole", least=1, most=MOST_ROWS), code="invalid_filter", param="limit")
    return int(value)


def _as_query(wanted: AuditFilter) -> dict[str, str]:
    """The filter as the query has it, without what is not filtered by."""
    told = {name: getattr(wanted, name) for name in LONGEST}
    told |= {
        name: moment.isoformat().replace("+00:00", "Z")
        for name in ("since", "until")
        if (moment := getattr(wanted, name)) is not None
    }
    return {name: value for name, value in told.items() if value is not None}
