"""Conversations: the list, one of them, its words, its export, its end and its erasure.

The key decision: who reads what people said is written down before it is shown, once for each user, conversation and
hour; where that cannot be written down, nothing is shown. A viewer gets the same pages without the words.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, request

from dashboard.access.permissions import Permission
from dashboard.sight.conversations import ConversationSight, ConversationState, SeenConversation, is_costly, turns_of
from dashboard.web import conversation_erasure
from dashboard.web.answers import fields, json_answer, page
from dashboard.web.audit_trail import note
from dashboard.web.context import parts, who
from dashboard.web.conversation_documents import (
    conversation_as_document,
    exported,
    listing_as_document,
    transcript_as_document,
)
from dashboard.web.conversation_query import ConversationQuery, read_query
from dashboard.web.conversation_words import install_words
from dashboard.web.ordering import LONGEST_REASON, SHORTEST_REASON, give_order, reason_in
from dashboard.words.said import Said
from service.errors import ConflictError, NotAllowedError, NotFoundError, ServiceUnavailableError, UnprocessableError
from service.orders import OrderKind
from service.storage import AuditFilter

READ = "conversation.read"
SEARCHED = "conversation.searched"
EXPORTED = "conversation.exported"
END_ORDERED = "conversation.end"

MOST_SHOWN = 500
"""Utterances on a page, moments and verdicts: the newest. An export, and the JSON, have all of them."""

ANSWER_SECONDS = 3.0
"""That a worker is waited for which has the conversation; it takes orders within half a second."""

ORDER_SECONDS = 10.0
_READ_AGAIN = timedelta(hours=1)


def blueprint() -> Blueprint:
    """Make the pages and their JSON."""
    made = Blueprint("conversations", __name__)
    install_words(made)
    one, api = "/conversations/<conversation_id>", "/api/conversations/<conversation_id>"
    made.add_url_rule("/conversations", view_func=list_page)
    made.add_url_rule(one, view_func=one_page)
    made.add_url_rule("/api/conversations", view_func=list_json)
    made.add_url_rule(api, view_func=one_json)
    made.add_url_rule(f"{api}/transcript", view_func=transcript)
    made.add_url_rule(f"{api}/export", view_func=export)
    made.add_url_rule(f"{api}/end", view_func=end, methods=["POST"])
    conversation_erasure.add_rules(made)
    return made


# --- The list ------------------------------------------------------------------------------------------------------


def list_page() -> Response | str:
    """Show a page of the list."""
    query = _query()
    listing = None
    with suppress(ServiceUnavailableError):  # the page says so
        listing = _sight().find(query.wanted, cursor=query.cursor, limit=query.limit)
    older = None if listing is None or listing.next_cursor is None else listing.next_cursor
    return page(
        "conversations.html",
        "conversations.title",
        listing=listing,
        query=query,
        is_costly=is_costly(query.wanted),
        # A search that no index serves is not repeated each second, nor does a page of the past change.
        is_live=query.cursor is None and not is_costly(query.wanted),
        older=None if older is None else query.address("/conversations", cursor=older),
        newest=query.address("/conversations"),
    )


def list_json() -> Response:
    """Answer with a page of the list."""
    query = _query()
    return json_answer(listing_as_document(_sight().find(query.wanted, cursor=query.cursor, limit=query.limit)))


def _query() -> ConversationQuery:
    """Read the question. Raises NotAllowedError: whoever may not read words may not look for them either."""
    query = read_query(request.args)
    if query.wanted.text is not None:
        if not who().may(Permission.OPERATE):
            raise NotAllowedError(Said("conversations.error.search_role"))
        _note_once(SEARCHED, "words")  # not which: they are somebody's
    return query


# --- One of them ---------------------------------------------------------------------------------------------------


def one_page(conversation_id: str) -> Response | str:
    """Show one conversation: to operators with what was said."""
    seen = _seen(conversation_id)
    moments = seen.moments
    may_read = who().may(Permission.OPERATE)
    is_noted = may_read and _is_noted(conversation_id, seen)
    said = seen.history.utterances if is_noted else ()
    return page(
        "conversation.html",
        "conversations.one",
        seen=seen,
        conversation=seen.summary,
        moments=moments[-MOST_SHOWN:],
        moments_left_out=max(0, len(moments) - MOST_SHOWN),
        turns=turns_of(moments),
        utterances=said[-MOST_SHOWN:],
        left_out=max(0, len(said) - MOST_SHOWN),
        may_read=may_read,
        is_noted=is_noted,
        typed_characters=conversation_erasure.TYPED_CHARACTERS,
        transcript_days=parts().settings.transcript_days,
        most_shown=MOST_SHOWN,
        sample_share=parts().settings.quality_sample_share,
        is_live=seen.state is not ConversationState.ENDED,
    )


def one_json(conversation_id: str) -> Response:
    """Answer with one conversation, without words."""
    return json_answer(conversation_as_document(_seen(conversation_id)))


def transcript(conversation_id: str) -> Response:
    """Answer with what was said."""
    seen = _seen(conversation_id)
    _note_once(READ, conversation_id)
    return json_answer(transcript_as_document(seen))


def export(conversation_id: str) -> Response:
    """Answer with everything that is kept of it, as a file: JSON for programs, or text for people."""
    kind = request.args.get("format", "json")
    if kind not in {"json", "text"}:
        raise UnprocessableError(Said("conversations.error.format"), param="format")
    seen = _seen(conversation_id)
    note(EXPORTED, conversation_id, after={"format": kind})
    return exported(seen.record, kind)


def end(conversation_id: str) -> Response:
    """Have the worker that leads it end it, and say which one did."""
    reason = _reason(fields())
    seen = _seen(conversation_id)
    if seen.state is ConversationState.ENDED:
        raise ConflictError(Said("conversations.error.ended"), code="conversation_ended")
    note(END_ORDERED, conversation_id, after={"reason": reason})
    order = give_order(
        OrderKind.CONVERSATION_END, arguments={"conversation_id": conversation_id}, seconds=ORDER_SECONDS
    )
    answers = parts().orders.wait(
        order.id, until=lambda found: any(each.is_done for each in found), timeout=ANSWER_SECONDS
    )
    ended = next((each for each in answers if each.is_done), None)
    return json_answer(
        {"order_id": order.id, "is_ended": ended is not None, "worker": None if ended is None else ended.worker}
    )


def _reason(body: dict[str, Any]) -> str:
    reason = reason_in(body)
    if reason is None:
        message = Said("common.error.reason", shortest=SHORTEST_REASON, longest=LONGEST_REASON)
        raise UnprocessableError(message, param="reason")
    return reason


# --- Below them ----------------------------------------------------------------------------------------------------


def _sight() -> ConversationSight:
    return ConversationSight(parts().database, store=parts().redis)


def _seen(conversation_id: str) -> SeenConversation:
    seen = _sight().see(conversation_id)
    if seen is None:
        raise NotFoundError(Said("conversations.error.not_found"), code="conversation_not_found")
    return seen


def _is_noted(conversation_id: str, seen: SeenConversation) -> bool:
    """Write down that it is read, if there is anything to read; false if that cannot be done now."""
    if not seen.history.utterances:
        return True
    try:
        _note_once(READ, conversation_id)
    except ServiceUnavailableError:
        return False
    return True


def _note_once(action: str, subject: str) -> None:
    """Write it down, unless the same user did the same within the last hour."""
    lately = AuditFilter(actor=who().user.name, action=action, subject=subject, since=datetime.now(UTC) - _READ_AGAIN)
    if not parts().audit.search(lately, limit=1).items:
        note(action, subject)
