"""Rows of the database as frozen values and back; a value's fields are called as the columns are."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from sqlalchemy import TypeDecorator, inspect
from sqlalchemy.dialects import sqlite

from service.storage.models import Base


class Value(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


V = TypeVar("V", bound=Value)


def value_of(made_of: type[V], row: Base) -> V:
    """The value that `row` holds, as it is now."""
    return made_of(**{field.name: getattr(row, field.name) for field in fields(made_of)})


def values_of(value: Value) -> dict[str, Any]:
    """Column to value, as `value` has them."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def as_kept(row: type[Base], value: V) -> V:
    """`value` with its texts as the columns of `row` keep them, to know beforehand what will be read back."""
    kept = {}
    for column in inspect(row).columns:
        if isinstance(column.type, TypeDecorator) and isinstance(getattr(value, column.name, None), str):
            kept[column.name] = column.type.process_bind_param(getattr(value, column.name), sqlite.dialect())
    return replace(value, **kept)
