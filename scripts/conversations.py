"""`python -m scripts.conversations list|show|export`: the conversations that are kept, for people and programs.

Exit codes: 0 done; 1 there is no such conversation, or it failed; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scripts.stores import DONE, FAILED, open_stores, told
from service.storage import ConversationFilter, Conversations, ConversationSummary, Page
from service.storage.conversation_export import (
    as_document,
    as_text,
    duration,
    moment,
    readable,
    summary_as_document,
)

_SECRET_FILE = 0o600


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    options = _parser().parse_args(arguments)
    return told(lambda: _list(options) if options.command == "list" else _export(options))


def _list(options: argparse.Namespace) -> int:
    wanted = ConversationFilter(
        agent_id=options.agent,
        user_id=options.user,
        since=options.since,
        until=options.until,
        text=options.text,
    )
    with open_stores() as stores:
        page = Conversations(stores.database).search(wanted, cursor=options.cursor, limit=options.limit)
    if options.format == "json":
        _write(_as_json(_page_as_document(page)), None)
        return DONE
    _write("".join(f"{_line(summary)}\n" for summary in page.items) or "There are none.\n", None)
    if page.next_cursor is not None:
        print(f"There are more: --cursor {page.next_cursor}", file=sys.stderr)
    return DONE


def _page_as_document(page: Page[ConversationSummary]) -> dict[str, Any]:
    return {
        "conversations": [summary_as_document(summary) for summary in page.items],
        "next_cursor": page.next_cursor,
    }


def _line(summary: ConversationSummary) -> str:
    lasted = "-" if summary.ended_at is None else duration((summary.ended_at - summary.started_at).total_seconds())
    return "  ".join(
        [
            f"{readable(summary.id):<38}",
            moment(summary.started_at),
            f"{lasted:>8}",
            f"{summary.ended_by or '-':<8}",
            f"{readable(summary.agent_id):<24}",
            readable(summary.user_id or "-"),
        ]
    )


def _export(options: argparse.Namespace) -> int:
    with open_stores() as stores:
        record = Conversations(stores.database).get(options.id)
    if record is None:
        print("There is no conversation of that id here.", file=sys.stderr)
        return FAILED
    _write(_as_json(as_document(record)) if options.format == "json" else as_text(record), options.output)
    return DONE


def _as_json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _write(text: str, path: Path | None) -> None:
    """To standard output, or into a new file that nobody else may read: it has what people said."""
    if path is None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _SECRET_FILE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date such as 2026-10-01 or 2026-10-01T08:00:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _number(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 200:
        raise argparse.ArgumentTypeError("must be from 1 to 200")
    return number


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.conversations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="those that meet all filters, newest first")
    listing.add_argument("--agent", help="with this agent")
    listing.add_argument("--user", help="of this user")
    listing.add_argument("--since", type=_moment, help="begun then or later; UTC unless it says otherwise")
    listing.add_argument("--until", type=_moment, help="begun before")
    listing.add_argument("--text", help="in which this was said; slow without --since")
    listing.add_argument("--limit", type=_number, default=50, help="of one page, at most 200 (default: 50)")
    listing.add_argument("--cursor", help="of the page before")
    show = commands.add_parser("show", help="one, as a transcript")
    export = commands.add_parser("export", help="one, with everything that is kept of it")
    for command, usual in ((listing, "text"), (export, "json")):
        command.add_argument("--format", choices=("json", "text"), default=usual, help=f"(default: {usual})")
    for command in (show, export):
        command.add_argument("id")
    export.add_argument("--output", type=Path, metavar="FILE", help="a new file, which only you may read")
    show.set_defaults(format="text", output=None)
    return parser


if __name__ == "__main__":
    sys.exit(main())
