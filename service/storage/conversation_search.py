"""Looking for conversations: filters, newest first, a page at a time.

The key decision: the words are looked for in the database as they stand (no index of words is kept of what people
said), so a search for text is as slow as the time it covers is long: give `since`. So it is with what else has no
index of its own (`unended`, `ended_badly`, `switched`).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session

from service.storage.conversation_models import ConversationRow, LegRow, UtteranceRow
from service.storage.conversation_records import GOOD_END_CODES, ConversationFilter, ConversationSummary
from service.storage.pages import Page, bounded, make_cursor, read_cursor
from service.storage.values import value_of


def search(session: Session, wanted: ConversationFilter, cursor: str | None, limit: int) -> Page[ConversationSummary]:
    """A page of the conversations that meet the filter.

    Raises:
        RequestError: the cursor is none of ours.
    """
    statement = select(ConversationRow).where(*_conditions(wanted))
    place = (ConversationRow.started_at, ConversationRow.id)
    if cursor is not None:
        statement = statement.where(tuple_(*place) < tuple_(*read_cursor(cursor)))
    newest_first = statement.order_by(*(column.desc() for column in place))
    rows = session.scalars(newest_first.limit(bounded(limit) + 1)).all()
    items = tuple(value_of(ConversationSummary, row) for row in rows[: bounded(limit)])
    has_more = len(rows) > len(items)
    return Page(items, make_cursor(items[-1].started_at, items[-1].id) if has_more else None)


def _conditions(wanted: ConversationFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.agent_id is not None:
        yield ConversationRow.agent_id == wanted.agent_id
    if wanted.user_id is not None:
        yield ConversationRow.user_id == wanted.user_id
    if wanted.since is not None:
        yield ConversationRow.started_at >= wanted.since
    if wanted.until is not None:
        yield ConversationRow.started_at < wanted.until
    if wanted.provider_conversation_id is not None:
        theirs = LegRow.provider_conversation_id == wanted.provider_conversation_id
        yield ConversationRow.id.in_(select(LegRow.conversation_id).where(theirs))
    if wanted.unended:
        yield ConversationRow.ended_at.is_(None)
    if wanted.ended_badly:
        yield ConversationRow.end_code.not_in(GOOD_END_CODES)
    if wanted.switched:
        providers = select(func.count(LegRow.provider.distinct())).where(LegRow.conversation_id == ConversationRow.id)
        yield providers.scalar_subquery() > 1
    if wanted.text:
        says = UtteranceRow.text.icontains(wanted.text, autoescape=True)
        yield select(UtteranceRow.sequence).where(UtteranceRow.conversation_id == ConversationRow.id, says).exists()
