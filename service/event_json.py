"""Events of the Agents protocol as JSON: to and from the payload of a frame.

The key decision: an event that we write may be kept for a client that comes back, so it takes no more memory than it is
long. orjson sets aside eight bytes for each of a string and leaves them with the result (`bytes` that orjson 3.13 made
of 16 kB of audio hold 130 kB); copying them costs less than a microsecond.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


def read_event(data: bytes) -> dict[str, Any] | None:
    """Return a frame's JSON object, or None if it is none."""
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) else None


def write_event(event: Mapping[str, Any]) -> bytes:
    """Return an event as a frame's payload."""
    return memoryview(orjson.dumps(event)).tobytes()
