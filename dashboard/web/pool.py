"""The pools of connections, and the account's slots: what is in them, and resize, drain and refill.

The key decision: an order is written into the audit before it is given, with what held before. If the order then does
not reach Redis, the audit tells of an attempt; the other way round there could be a change that nobody has made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis
from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from dashboard.sight.history import see_history
from dashboard.sight.limiters import see_limiters
from dashboard.sight.pools import PoolSight, see_pools
from dashboard.sight.watch import Snapshot
from dashboard.web.answers import fields, json_answer, page
from dashboard.web.audit_trail import note
from dashboard.web.context import parts
from dashboard.web.fragments import Fragments
from dashboard.web.looks import language
from dashboard.web.order_words import answer_in_words
from dashboard.web.ordering import LONGEST_REASON, SHORTEST_REASON, give_order, reason_in
from dashboard.words import translate
from dashboard.words.said import Said
from service.errors import NotFoundError, RequestError, ServiceUnavailableError
from service.orders import EVERYBODY, MOST_CONNECTIONS, Order, OrderAnswer, OrderKind

ACTIONS: Mapping[str, OrderKind] = {
    "resize": OrderKind.POOL_RESIZE,
    "drain": OrderKind.POOL_DRAIN,
    "refill": OrderKind.POOL_REFILL,
}
ORDER_SECONDS = 5.0
LONGEST_ID = 64


@dataclass(frozen=True)
class Wish:
    """What somebody wants done with a pool, checked."""

    kind: OrderKind
    pool: PoolSight
    target: str
    reason: str
    arguments: Mapping[str, Any]

    @property
    def workers(self) -> tuple[str, ...]:
        """Those who are asked."""
        names = tuple(share.worker for share in self.pool.workers)
        return names if self.target == EVERYBODY else (self.target,)

    @property
    def before(self) -> dict[str, Any]:
        """What held for those who are asked: their bounds, each once, and the places taken in sum."""
        asked = [share.stats for share in self.pool.workers if share.worker in self.workers]
        bounds = sorted({(stats.min_idle, stats.max_size) for stats in asked})
        return {
            "bounds": [{"min_idle": least, "max_size": most} for least, most in bounds],
            "size": sum(stats.size for stats in asked),
        }


def blueprint() -> Blueprint:
    """The routes of the pools, and the one that tells what became of any order."""
    routes = Blueprint("pool", __name__)
    fragments = Fragments()

    @routes.get("/pool")
    def show() -> ResponseReturnValue:
        """The page."""
        snapshot = parts().watch.snapshot()
        return fragments.answer(snapshot.looks, lambda: _page(snapshot))

    routes.get("/api/pool")(told)
    routes.post("/api/pool/orders")(give)
    routes.get("/api/orders/<order_id>")(follow)
    return routes


def told() -> ResponseReturnValue:
    """The same as JSON."""
    snapshot = parts().watch.snapshot()
    return json_answer(
        {
            "at": snapshot.at or None,
            "redis_error": snapshot.redis_error,
            "pools": see_pools(snapshot.workers),
            "limiters": see_limiters(snapshot.workers),
        }
    )


def give() -> ResponseReturnValue:
    """Order something of all workers, or of one; the answer says whom to wait for."""
    wish = _wish(fields(), parts().watch.snapshot())
    note(
        wish.kind.value,
        f"{wish.pool.name} {wish.target}",
        before=wish.before,
        after={**wish.arguments, "reason": wish.reason, "workers": len(wish.workers)},
    )
    order = give_order(wish.kind, target=wish.target, arguments=wish.arguments, seconds=ORDER_SECONDS)
    return json_answer({"order_id": order.id, "workers": wish.workers, "seconds": ORDER_SECONDS}, status=202)


def follow(order_id: str) -> ResponseReturnValue:
    """What became of an order: who has answered what, and who that could has not."""
    try:
        order = parts().orders.order(order_id) if len(order_id) <= LONGEST_ID else None
        answers = [] if order is None else parts().orders.answers(order_id)
    except redis.RedisError as exc:
        message = Said("pool.error.redis_follow")
        raise ServiceUnavailableError(message, retry_after=2.0, code="redis_unavailable") from exc
    if order is None:
        raise NotFoundError(Said("pool.error.no_order"), code="order_not_found")
    return json_answer(_progress(order, answers, parts().watch.snapshot()))


def _page(snapshot: Snapshot) -> Response:
    pools = see_pools(snapshot.workers)
    workers = sorted({share.worker for pool in pools for share in pool.workers})
    spoken = language()
    return page(
        "pool.html",
        "pool.title",
        snapshot=snapshot,
        pools=pools,
        limiters=see_limiters(snapshot.workers),
        steps=see_history(parts().watch.minutes().value).steps,
        largest_size=MOST_CONNECTIONS,
        pool_choices=[(pool.name, _named(pool.name, spoken)) for pool in pools],
        target_choices=[(EVERYBODY, translate("pool.everywhere", spoken)), *((name, name) for name in workers)],
    )


def _progress(order: Order, answers: list[OrderAnswer], snapshot: Snapshot) -> dict[str, Any]:
    heard_of = {answer.worker for answer in answers}
    names = {report.name for report in snapshot.workers}
    asked = names if order.target == EVERYBODY else {order.target}
    return {
        "order": {
            "id": order.id,
            "kind": order.kind,
            "target": order.target,
            "author": order.author,
            "given_at": order.given_at,
            "expires_at": order.expires_at,
        },
        "answers": [
            {"worker": answer.worker, "is_done": answer.is_done, "text": answer_in_words(answer), "at": answer.at}
            for answer in sorted(answers, key=lambda answer: answer.worker)
        ],
        "silent": sorted(asked - heard_of),
    }


def _named(pool: str, spoken: str) -> str:
    key = f"pool.name_{pool}"
    named = translate(key, spoken)
    return pool if named == key else named


def _wish(asked: Mapping[str, Any], snapshot: Snapshot) -> Wish:
    kind = ACTIONS.get(str(asked.get("action")))
    if kind is None:
        raise _wrong("action", Said("pool.error.action", actions=", ".join(ACTIONS)))
    pool = next((each for each in see_pools(snapshot.workers) if each.name == asked.get("pool")), None)
    if pool is None:
        raise _wrong("pool", Said("pool.error.pool"))
    target = str(asked.get("target", EVERYBODY))
    if target != EVERYBODY and target not in {share.worker for share in pool.workers}:
        raise _wrong("target", Said("pool.error.target"))
    reason = reason_in(asked)
    if reason is None:
        raise _wrong("reason", Said("common.error.reason", shortest=SHORTEST_REASON, longest=LONGEST_REASON))
    arguments: dict[str, Any] = {"pool": pool.name}
    if kind is OrderKind.POOL_RESIZE:
        arguments |= _sizes(asked)
    return Wish(kind, pool, target, reason, arguments)


def _sizes(asked: Mapping[str, Any]) -> dict[str, int]:
    largest = _whole(asked, "max_size", at_least=1, at_most=MOST_CONNECTIONS)
    return {"min_idle": _whole(asked, "min_idle", at_least=0, at_most=largest), "max_size": largest}


def _whole(asked: Mapping[str, Any], name: str, *, at_least: int, at_most: int) -> int:
    value = asked.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not at_least <= value <= at_most:
        raise _wrong(name, Said("common.error.whole", least=at_least, most=at_most))
    return value


def _wrong(param: str, message: Said) -> RequestError:
    return RequestError(message, code="invalid_parameters", param=param)
