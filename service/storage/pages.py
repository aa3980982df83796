"""One page of a long list, and where the next one begins.

The key decision: a cursor names the last row that was seen and not how many there were, so that a page costs the same
wherever it is, and rows that come or go in between neither repeat nor hide one.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from service.errors import RequestError

T = TypeVar("T")
MOST_ROWS = 200
LONGEST_NUMBER = 18  # digits: what is longer is no 64-bit number


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows; `next_cursor` gets those that follow, None if there are none."""

    items: tuple[T, ...]
    next_cursor: str | None


def bounded(limit: int) -> int:
    """`limit`, within 1 and 200."""
    return max(1, min(limit, MOST_ROWS))


def make_cursor(at: datetime, row_id: str) -> str:
    """The cursor behind the row `row_id` of the moment `at`."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{row_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """The moment and the id of the row that `cursor` is behind.

    Raises:
        RequestError: it is none of ours.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, row_id = text.partition("|")
        at = datetime.fromisoformat(moment)
    except (binascii.Error, UnicodeError, ValueError):
        at, row_id = None, ""
    if at is None or at.tzinfo is None or not row_id:
        raise _not_ours()
    return at, row_id


def read_number(cursor: str) -> int:
    """The number of the row that `cursor` is behind, in a list that is numbered.

    Raises:
        RequestError: it is none of ours.
    """
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= LONGEST_NUMBER):
        raise _not_ours()
    return int(cursor)


def _not_ours() -> RequestError:
    return RequestError("This is no cursor of ours.", code="invalid_cursor", param="cursor")
