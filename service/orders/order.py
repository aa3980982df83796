"""An order and an answer to one, and how they lie in Redis.

The key decision: an order has an end, by Redis' clock, which all nodes have in common. What nobody waits for any more
is not done: a worker that comes back after a minute does not end a conversation, or drain a pool, for somebody who has
long tried something else. All that is read is checked here, once: any process may have written it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from service import redis_keys
from service.metrics_platform import OrderKind

EVERYBODY = "*"
LONGEST_SECONDS = 300.0
MOST_BYTES = 4096
MOST_CONNECTIONS = 50_000
"""That a pool may be ordered to open."""

KEPT_SECONDS = 3600
SOUND_KEPT_SECONDS = 120
STREAM_KEY = redis_keys.ORDERS.prefix

_ID = re.compile(r"[0-9a-f]{16}")
_LONGEST_TEXT = 1000


@dataclass(frozen=True)
class Order:
    """What is asked: `target` is "*" or "node/worker"; times are seconds since 1970 by Redis' clock.

    A `kind` that is no `OrderKind` is one that this version does not know.
    """

    id: str
    kind: OrderKind | str
    target: str
    arguments: Mapping[str, Any]
    author: str
    given_at: float
    expires_at: float

    def as_json(self) -> bytes:
        """As it lies in Redis."""
        return orjson.dumps(asdict(self))


@dataclass(frozen=True)
class OrderAnswer:
    """What a worker ("node/worker") says: `text` is for people, `details` are the same for programs.

    `said` names the sentence that the text is, and `details` have what stands in it, for whoever shows it in another
    language; "" if the worker is of a version that did not tell, or the sentence is somebody else's.
    """

    worker: str
    is_done: bool
    text: str
    at: float
    details: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""

    def as_json(self) -> bytes:
        """As it lies in Redis, in the field that bears the worker's name."""
        told = {"is_done": self.is_done, "text": self.text, "at": self.at, "details": self.details, "said": self.said}
        return orjson.dumps(told)


def read_order(raw: bytes) -> Order:
    """The order that `raw` is.

    Raises:
        ValueError: it is none.
    """
    found = _mapping(raw)
    kind, target, author = (_text(found.get(name), name) for name in ("kind", "target", "author"))
    given_at, expires_at = (_number(found.get(name), name) for name in ("given_at", "expires_at"))
    if not is_order_id(found.get("id")):
        raise ValueError("an order without an id")
    if not 0 < expires_at - given_at <= LONGEST_SECONDS:
        raise ValueError(f"an order lasts more than 0 and at most {LONGEST_SECONDS:g} s")
    arguments = found.get("arguments")
    if not isinstance(arguments, dict):
        raise ValueError("an order's arguments are no object")  # noqa: TRY004 (of what came, not of a call)
    known = OrderKind(kind) if kind in list(OrderKind) else kind
    return Order(found["id"], known, target, arguments, author, given_at, expires_at)


def read_answer(worker: bytes, raw: bytes) -> OrderAnswer:
    """The answer of `worker` that `raw` is.

    Raises:
        ValueError: it is none.
    """
    found = _mapping(raw)
    details, said = found.get("details"), found.get("said")
    return OrderAnswer(
        worker=worker.decode("utf-8", "replace")[:_LONGEST_TEXT],
        is_done=found.get("is_done") is True,
        text=_text(found.get("text"), "text"),
        at=_number(found.get("at"), "at"),
        details=details if isinstance(details, dict) else {},
        said=said[:_LONGEST_TEXT] if isinstance(said, str) else "",
    )


def is_order_id(text: object) -> bool:
    """Whether an order may have that id: keys of Redis are made of it."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def order_key(order_id: str) -> str:
    """Where an order lies for an hour."""
    return redis_keys.ORDER.prefix + order_id


def answers_key(order_id: str) -> str:
    """Where the answers to it lie for an hour."""
    return redis_keys.ORDER_ANSWERS.prefix + order_id


def sound_key(order_id: str) -> str:
    """Where the sound lies that it has made, for two minutes."""
    return f"{redis_keys.CACHE.prefix}canary:{order_id}"


def _mapping(raw: bytes) -> dict[str, Any]:
    if len(raw) > MOST_BYTES:
        raise ValueError(f"an order or an answer of {len(raw)} bytes")
    found = orjson.loads(raw)  # its error is a ValueError
    if not isinstance(found, dict):
        raise ValueError("an order or an answer is no object")  # noqa: TRY004 (of what came, not of a call)
    return found


def _text(found: object, name: str) -> str:
    if not isinstance(found, str) or not 0 < len(found) <= _LONGEST_TEXT:
        raise ValueError(f"an order's or an answer's {name} is no text of 1 to {_LONGEST_TEXT} characters")
    return found


def _number(found: object, name: str) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise ValueError(f"an order's or an answer's {name} is no time")
    return float(found)
