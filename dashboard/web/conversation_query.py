"""What a list of conversations is asked for in the address: read with bounds, and written again for other pages.

The key decision: the address says all of it, so a search can be sent to a colleague, and the way back leads to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from dashboard.words.said import Said
from service.errors import UnprocessableError
from service.storage import ConversationFilter

LONGEST_NAME = 256
LONGEST_TEXT = 200
LONGEST_CURSOR = 400
USUAL_LIMIT, MOST_LIMIT = 50, 200

_NAMES = {"agent": "agent_id", "user": "user_id", "provider_id": "provider_conversation_id"}
_MARKS = {"live": "unended", "badly": "ended_badly", "switched": "switched"}


@dataclass(frozen=True)
class ConversationQuery:
    """A filter, the place in the list, and `given`: the parameters that said so, without the cursor."""

    wanted: ConversationFilter
    cursor: str | None
    limit: int
    given: Mapping[str, str]

    def address(self, path: str, *, cursor: str | None = None) -> str:
        """The same question at `path`, from the cursor on."""
        parameters = {**self.given, **({} if cursor is None else {"cursor": cursor})}
        return f"{path}?{urlencode(parameters)}" if parameters else path


def read_query(parameters: Mapping[str, str]) -> ConversationQuery:
    """Read them; what is empty was not given, and what is unknown is no question.

    Raises:
        UnprocessableError: one of them makes no sense; it names which.
    """
    given: dict[str, str] = {}
    fields: dict[str, str | datetime | bool] = {}
    for name, field in _NAMES.items():
        if text := _text(parameters, name, LONGEST_NAME):
            given[name] = fields[field] = text
    for name in ("since", "until"):
        if text := _text(parameters, name, 40):
            given[name] = text
            fields[name] = _moment(text, name)
    if text := _text(parameters, "text", LONGEST_TEXT):
        given["text"] = fields["text"] = text
    for name, field in _MARKS.items():
        if _text(parameters, name, 8) in {"1", "true", "on"}:
            given[name], fields[field] = "1", True
    limit = _limit(_text(parameters, "limit", 8))
    if limit != USUAL_LIMIT:
        given["limit"] = str(limit)
    wanted = ConversationFilter(**fields)  # type: ignore[arg-type]  # each name has the type of its field
    return ConversationQuery(wanted, _text(parameters, "cursor", LONGEST_CURSOR) or None, limit, given)


def _text(parameters: Mapping[str, str], name: str, longest: int) -> str:
    text = parameters.get(name, "").strip()
    if len(text) > longest:
        raise UnprocessableError(Said("conversations.error.too_long", name=name, longest=longest), param=name)
    return text


def _moment(text: str, name: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnprocessableError(Said("conversations.error.moment", name=name), param=name) from None


def _limit(text: str) -> int:
    if not text:
        return USUAL_LIMIT
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_LIMIT):
        raise UnprocessableError(Said("common.error.whole", least=1, most=MOST_LIMIT), param="limit")
    return int(text)
