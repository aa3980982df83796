"""Conversations as JSON and as files to take away.

The key decision: what is exported is what `python -m scripts.conversations export` writes, to the letter; lists and
single conversations have its fields, and beside them what only the dashboard knows.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import datetime
from typing import Any

from flask import Response

from dashboard.sight.conversations import Listed, Listing, SeenConversation, turns_of
from service.conversation.timeline import Moment
from service.storage import ConversationRecord
from service.storage.conversation_export import as_document, as_text, summary_as_document

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_LONGEST_NAME = 80


def listing_as_document(listing: Listing) -> dict[str, Any]:
    """A page of the list."""
    return {
        "conversations": [_listed(item) for item in listing.items],
        "next_cursor": listing.next_cursor,
        "searched_since": _moment(listing.since),
        "database_error": listing.database_error,
        "redis_error": listing.redis_error,
    }


def conversation_as_document(seen: SeenConversation) -> dict[str, Any]:
    """One conversation without its words."""
    document = as_document(seen.record)
    moments = seen.moments
    return {
        "conversation": document["conversation"],
        "state": seen.state.value,
        "last_sign_at": seen.last_sign_at,
        "legs": document["legs"],
        "cost": document["cost"],
        "judged_answers": document["judged_answers"],
        "turns": asdict(turns_of(moments)),
        "timeline": [_of_timeline(moment) for moment in moments],
        "database_error": seen.database_error,
        "redis_error": seen.redis_error,
    }


def transcript_as_document(seen: SeenConversation) -> dict[str, Any]:
    """What was said in one conversation."""
    return {
        "conversation_id": seen.summary.id,
        "utterances": as_document(seen.record)["utterances"],
        "is_complete": seen.history.is_complete,
    }


def exported(record: ConversationRecord, kind: str) -> Response:
    """A file for whoever asked: `kind` is json or text."""
    if kind == "json":
        text, content_type, ending = json.dumps(as_document(record), indent=2, ensure_ascii=False), "json", "json"
    else:
        text, content_type, ending = as_text(record), "plain", "txt"
    family = "application" if content_type == "json" else "text"
    answer = Response(text.rstrip("\n") + "\n", content_type=f"{family}/{content_type}; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="{_file_name(record.summary.id)}.{ending}"'
    return answer


def _file_name(conversation_id: str) -> str:
    """A name that means the same to every file system and header; ids come from outside."""
    return f"conversation-{_UNSAFE.sub('-', conversation_id)[:_LONGEST_NAME].strip('-') or 'unnamed'}"


def _listed(item: Listed) -> dict[str, Any]:
    return {
        **summary_as_document(item.summary),
        "state": item.state.value,
        "providers": list(item.providers),
        "last_sign_at": item.last_sign_at,
    }


def _of_timeline(moment: Moment) -> dict[str, Any]:
    return {**asdict(moment), "at": _moment(moment.at)}


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
