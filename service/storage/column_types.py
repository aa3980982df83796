"""The types of columns: what a value becomes on its way into the database and out of it.

The key decision: text from outside is made storable here and not by whoever writes it. PostgreSQL has no place for
NUL, UTF-8 none for a lone surrogate, a column none for more than its length; a word that a user said must not be lost
because of a character in it. The same happens to what a query compares with, so a value is found by what was written.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import DateTime, Dialect, String, Text, TypeDecorator

E = TypeVar("E", bound=StrEnum)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment; refuses one without a zone, because nobody could say which moment it is."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy calls it so)
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy calls it so)
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def storable(text: str) -> str:
    """`text` with U+FFFD in the place of what no database can hold: NUL and lone surrogates."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def kept_identifier(value: str, length: int) -> str:
    """What a column for identifiers of `length` characters keeps of `value`: itself, or its digest if it is longer."""
    value = storable(value)
    if len(value) <= length:
        return value
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"[:length]


class LongText(TypeDecorator[str]):
    """Text of any length."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 (SQLAlchemy calls it so)
        return None if value is None else storable(value)


class ShortText(TypeDecorator[str]):
    """Text for people to read, cut to its length."""

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 (SQLAlchemy calls it so)
        return None if value is None else storable(value)[: self.length]


class Identifier(TypeDecorator[str]):
    """A name that others gave. One that is too long is kept as its digest, so that no two become the same."""

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 (SQLAlchemy calls it so)
        return None if value is None else kept_identifier(value, self.length)


class NameList(TypeDecorator[tuple[str, ...]]):
    """Some of our own short names, with commas; `length` has room for all there are."""

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 (SQLAlchemy calls it so)
        return None if value is None else ",".join(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:  # noqa: ARG002 (SQLAlchemy calls it so)
        return None if value is None else tuple(filter(None, value.split(",")))


class OneOf(TypeDecorator[E]):
    """A member of a closed set; the column has a check constraint that says the same (`allowed`)."""

    impl = String
    cache_ok = True

    def __init__(self, members: type[E], length: int = 16) -> None:
        super().__init__(length)
        self.members = members

    def process_bind_param(self, value: E | None, dialect: Dialect) -> Any:  # noqa: ARG002 (SQLAlchemy calls it so)
        return None if value is None else self.members(value).value

    def process_result_value(self, value: Any, dialect: Dialect) -> E | None:  # noqa: ARG002 (SQLAlchemy calls it so)
        return None if value is None else self.members(value)


def allowed(column: str, members: type[StrEnum]) -> str:
    """The SQL of the check that `column` holds one of `members`."""
    return f"{column} IN ({', '.join(repr(member.value) for member in members)})"
