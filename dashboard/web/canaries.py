"""A test that a person makes: one real synthesis, or one conversation as far as its metadata, by one worker.

The key decision: the worker does it as it serves people, with its keys and its limiter, because the dashboard has no
key and its network is another. It costs credits, so it is written down before it is asked for, and somebody who presses
again and again waits between two.
"""

from __future__ import annotations

import math
from typing import Any

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from dashboard.web.answers import fields, json_answer
from dashboard.web.audit_trail import note
from dashboard.web.context import parts, who
from dashboard.web.figures import as_number
from dashboard.web.looks import language
from dashboard.web.order_words import answer_in_words
from dashboard.web.ordering import give_order
from dashboard.words import translate
from dashboard.words.said import Said
from service import redis_keys
from service.errors import (
    ConflictError,
    NotFoundError,
    TooManyRequestsError,
    UnprocessableError,
)
from service.orders import Order, OrderAnswer, OrderKind
from service.pool_reports import WorkerReport
from service.storage import Capability

REST_SECONDS = 5.0
"""Between two canaries of the same user."""

BEGIN_SECONDS = 5.0
"""For the worker to take the order; a quarter of a second is usual."""

ANSWER_SECONDS = 25.0
"""Until it is said that no answer came: a little more than a worker tries for."""

_ASKED_KEY = f"{redis_keys.CACHE.prefix}canary_asked:"


def add_to(routes: Blueprint) -> None:
    """Add the canaries' routes."""
    routes.post("/api/fallback/canary")(ask)
    routes.get("/api/fallback/canary/<order_id>", endpoint="canary_told")(told)
    routes.get("/api/fallback/canary/<order_id>/sound")(sound)


def ask() -> ResponseReturnValue:
    """Ask a worker to make one."""
    given = fields()
    provider, capability = str(given.get("provider")), str(given.get("capability"))
    if capability not in {each.value for each in Capability}:
        raise UnprocessableError(Said("fallback.error.capability"), param="capability")
    worker = _choose(provider, capability)
    arguments = {"provider": provider, "capability": capability}
    _take_turn()
    note("canary.asked", f"{provider} {capability}", after={"worker": worker})
    order = give_order(OrderKind.CANARY, target=worker, arguments=arguments, seconds=BEGIN_SECONDS)
    return json_answer({"order_id": order.id, "worker": worker}, 202)


def told(order_id: str) -> ResponseReturnValue:
    """How far it is: waiting, done, failed, or late, when no answer came in time."""
    order = _order(order_id)
    answers = parts().orders.answers(order.id)
    told: dict[str, Any] = {"order_id": order.id, "worker": order.target, "state": "waiting", "text": "", "sound": None}
    if answers:
        answer = answers[0]
        state = "done" if answer.is_done else "failed"
        told |= {"state": state, "text": _in_words(order, answer), "details": dict(answer.details)}
        if answer.is_done and parts().orders.sound(order.id) is not None:
            told["sound"] = f"/api/fallback/canary/{order.id}/sound"
    elif parts().orders.now() > order.given_at + ANSWER_SECONDS:
        told |= {"state": "late", "text": _say("canary.late")}
    return json_answer(told)


def sound(order_id: str) -> ResponseReturnValue:
    """What was said, as WAV; it is kept for two minutes."""
    order = _order(order_id)
    wave = parts().orders.sound(order.id)
    if wave is None:
        raise NotFoundError(Said("fallback.canary.forgotten"), code="sound_not_found")
    return Response(wave, content_type="audio/wav", headers={"Cache-Control": "no-store"})


def _in_words(order: Order, answer: OrderAnswer) -> str:
    """What came of it in the reader's language, as far as we have words for it; else as the worker said it."""
    seconds = answer.details.get("first_byte_seconds")
    if answer.is_done and isinstance(seconds, int | float):
        capability = Capability(order.arguments["capability"])
        return _say(f"canary.{capability.value}_after", seconds=as_number(seconds, 2, language()))
    key = f"cause.{answer.details.get('cause')}"
    text = _say(key)
    return answer_in_words(answer) if text == f"fallback.{key}" else f"{text} ({answer.details.get('fault', '')})"


def _order(order_id: str) -> Order:
    order = parts().orders.order(order_id)
    if order is None or order.kind != OrderKind.CANARY:
        raise NotFoundError(Said("fallback.canary.unknown"), code="order_not_found")
    return order


def _choose(provider: str, capability: str) -> str:
    """The worker with the fewest conversations that has the provider in its chain: it is the least disturbed."""
    able = [
        report
        for report in parts().watch.snapshot().workers
        if provider in report.chains.get(capability, ()) and not report.draining
    ]
    if not able:
        raise ConflictError(Said("fallback.canary.no_worker"), code="no_worker")
    return min(able, key=_load).name


def _load(report: WorkerReport) -> tuple[int, str]:
    return report.conversations, report.name


def _take_turn() -> None:
    """One at a time, and a rest after it. Raises TooManyRequestsError, RedisError."""
    key = f"{_ASKED_KEY}{who().user.id}"
    if parts().redis.set(key, 1, px=round(REST_SECONDS * 1000), nx=True):
        return
    left = max(1, parts().redis.pttl(key)) / 1000
    raise TooManyRequestsError(Said("fallback.canary.too_often", seconds=math.ceil(left)), retry_after=left)


def _say(key: str, **values: Any) -> str:
    return translate(f"fallback.{key}", language(), **values)
