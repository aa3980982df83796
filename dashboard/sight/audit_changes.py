"""What an audit entry changed, field by field, so that people need not compare two lines of JSON.

The key decision: fields are named by their path (`limits.max_size`), and those that stayed the same are left out.
What is kept is never more than 16,000 characters; what is shown of it is less, and the rest is said to be there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST_CHANGES = 40
LONGEST_TEXT = 400
DEEPEST = 4


@dataclass(frozen=True)
class Change:
    """One field; None: there was none before, or there is none any more."""

    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Changes:
    """The first of them; `left_out` are more."""

    shown: tuple[Change, ...]
    left_out: int = 0


def changes_between(before: str | None, after: str | None) -> Changes:
    """The fields that differ between two JSON texts; what is no object is one field without a name."""
    old, new = dict(_fields(_read(before))), dict(_fields(_read(after)))
    found = [
        Change(field, _shown(old.get(field)), _shown(new.get(field)))
        for field in sorted(old.keys() | new.keys())
        if old.get(field) != new.get(field)
    ]
    return Changes(tuple(found[:MOST_CHANGES]), max(0, len(found) - MOST_CHANGES))


def _read(text: str | None) -> Any:
    if text is None:
        return {}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _fields(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and (value or not path) and depth < DEEPEST:
        for name, inner in value.items():
            yield from _fields(inner, f"{path}.{name}" if path else str(name), depth + 1)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _shown(text: str | None) -> str | None:
    if text is None or len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]}… ({len(text)})"
