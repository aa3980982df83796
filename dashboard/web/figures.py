"""How numbers, times and lengths of time are written, in the reader's language.

The key decision: a number that is not known is a dash and never a zero.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

UNKNOWN = "–"


def as_number(value: float | None, digits: int, language: str) -> str:
    """Write a number with separators: 12,345.6 in English, 12.345,6 in Spanish, which leaves four digits together."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    text = f"{value:,.{digits}f}"
    if language != "es":
        return text
    whole, point, fraction = text.partition(".")
    whole = whole.replace(",", "" if abs(value) < 10_000 else ".")
    return f"{whole},{fraction}" if point else whole


def as_duration(seconds: float | None, language: str) -> str:
    """Write how long something takes or took: 0.42 s, 12 s, 3 min 20 s, 2 h 05 min, 3 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    if seconds < 9.95:
        return f"{sign}{as_number(seconds, 2 if seconds < 0.995 else 1, language)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{sign}{whole} s"
    if whole < 3600:
        return f"{sign}{whole // 60} min {whole % 60:02d} s"
    minutes = whole // 60
    if minutes < 48 * 60:
        return f"{sign}{minutes // 60} h {minutes % 60:02d} min"
    return f"{sign}{minutes // 1440} d {minutes % 1440 // 60} h"


def as_instant(value: Any) -> datetime | None:
    """Read unix seconds, or a time with or without a zone (then it is UTC), as UTC; None for what is no time."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if not isinstance(value, int | float) or not value:
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        return None  # no such year: whoever told it has a broken clock
