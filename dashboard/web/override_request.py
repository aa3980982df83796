"""What somebody asks for when they set an override, read from a request's JSON and checked.

The key decision: nothing is guessed. A field that is missing or of another type is refused with its name, so that the
page can say it where it was typed; "until further notice" has to be said as null and is never what is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.web.ordering import LONGEST_REASON, SHORTEST_REASON, reason_in
from dashboard.words.said import Said
from service.errors import NotAllowedError, UnprocessableError
from service.fallback.overrides import LONGEST_SECONDS
from service.storage import OverrideMode

SHORTEST_SECONDS = 60.0
MOST_VERSION = 2**53


@dataclass(frozen=True)
class OverrideRequest:
    """A mode, why, for how long (None: until further notice), and the version that was seen before."""

    mode: OverrideMode
    reason: str
    seconds: float | None
    version: int


def read_mode(value: object) -> OverrideMode:
    """The mode of that name. Raises UnprocessableError."""
    try:
        return OverrideMode(str(value))
    except ValueError:
        raise UnprocessableError(Said("fallback.error.mode"), param="mode") from None


def read_override_request(fields: Mapping[str, Any], *, may_be_unlimited: bool) -> OverrideRequest:
    """What the fields ask for.

    Raises:
        UnprocessableError: a field is missing or wrong; `param` names it.
        NotAllowedError: until further notice, without `may_be_unlimited`.
    """
    mode = read_mode(fields.get("mode"))
    reason = reason_in(fields)
    if reason is None:
        raise UnprocessableError(
            Said("common.error.reason", shortest=SHORTEST_REASON, longest=LONGEST_REASON), param="reason"
        )
    version = fields.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 0 <= version < MOST_VERSION:
        raise UnprocessableError(Said("fallback.error.version"), param="version")
    seconds = None
    if mode is not OverrideMode.AUTO:  # that is no order that has to end
        seconds = _read_seconds(fields)
        if seconds is None and not may_be_unlimited:
            raise NotAllowedError(Said("fallback.error.unlimited"), code="unlimited_not_allowed")
    return OverrideRequest(mode, reason, seconds, version)


def _read_seconds(fields: Mapping[str, Any]) -> float | None:
    seconds = fields.get("seconds", "")
    if seconds is None:
        return None
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise UnprocessableError(Said("fallback.error.seconds"), param="seconds")
    return float(seconds)
