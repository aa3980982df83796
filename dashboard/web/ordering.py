"""What every page does alike that asks something of workers: read why, and give the order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis

from dashboard.web.context import parts, who
from dashboard.words.said import Said
from service.errors import ServiceUnavailableError
from service.orders import EVERYBODY, Order, OrderKind

SHORTEST_REASON, LONGEST_REASON = 3, 500


def reason_in(body: Mapping[str, Any]) -> str | None:
    """Why somebody wants it, as they typed it; None: they gave no reason, or one that is too short or too long."""
    reason = body.get("reason")
    stripped = reason.strip() if isinstance(reason, str) else ""
    return stripped if SHORTEST_REASON <= len(stripped) <= LONGEST_REASON else None


def give_order(
    kind: OrderKind, *, target: str = EVERYBODY, arguments: Mapping[str, Any] | None = None, seconds: float
) -> Order:
    """Have workers asked in the name of whoever is signed in; it is begun within `seconds`.

    Raises:
        ServiceUnavailableError: Redis does not answer, so nobody was asked.
    """
    try:
        return parts().orders.give(kind, target=target, arguments=arguments, author=who().user.name, seconds=seconds)
    except redis.RedisError as exc:
        message = Said("common.error.redis_order")
        raise ServiceUnavailableError(message, retry_after=5.0, code="redis_unavailable") from exc
