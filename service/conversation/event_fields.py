"""What stands in an event of the Agents protocol.

The key decision: whatever an agent sends is looked at, and what is not there, or of another type, is simply not there:
an event that makes no sense changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Message = Mapping[str, Any]


def field_of(message: Message, event: str, name: str) -> object:
    """The field `name` of the object `event` in a message; None if there is none."""
    inner = message.get(event)
    return inner.get(name) if isinstance(inner, dict) else None


def event_id_of(message: Message, event: str) -> int | None:
    """The event id in the object `event` of a message."""
    found = field_of(message, event, "event_id")
    return found if isinstance(found, int) else None
