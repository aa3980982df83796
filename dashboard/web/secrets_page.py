"""The page of the secrets: where they come from and how good they are on each worker. It never has a value.

The key decision: "refresh now" waits for what the workers answer and tells it worker by worker, because the admin who
has just written a new key wants to know who has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import redis
from flask import Blueprint
from flask.typing import ResponseReturnValue

from dashboard.sight.secrets_fleet import SecretsSight, look_at_secrets
from dashboard.sight.watch import Snapshot
from dashboard.web import kinds
from dashboard.web.answers import json_answer, page
from dashboard.web.audit_trail import note
from dashboard.web.context import parts, who
from dashboard.web.order_words import answer_in_words
from dashboard.words.said import Said
from service.errors import ServiceUnavailableError
from service.metrics import FailureCause
from service.orders import OrderAnswer, OrderKind

REFRESH_SECONDS = 8.0
"""A little more than what Vault has for an answer (VAULT_TIMEOUT_SECONDS) and a worker to take the order."""

HELP: Mapping[str, str] = {
    "sealed": "Vault is sealed",
    "denied": "Policy denied (403)",
    "wrap_used": "The wrapped secret id was already used",
    "deleted": "A deleted version",
    "bad_value": "Rotate the ElevenLabs key",
    "missing_field": "Rotate the ElevenLabs key",
}
"""Headings of docs/secrets.md by cause; every other cause has a row in its table "Causes"."""


def blueprint() -> Blueprint:
    routes = Blueprint("secrets", __name__)
    routes.get("/secrets")(show)
    routes.get("/api/secrets")(told)
    routes.post("/api/secrets/refresh")(refresh)
    return routes


def show() -> ResponseReturnValue:
    """The page."""
    snapshot = parts().watch.snapshot()
    sight = look_at_secrets(snapshot.workers)
    causes = sorted({worker.last_cause for worker in sight.workers if worker.is_failing and worker.last_cause})
    return page(
        "secrets.html",
        "secrets.title",
        snapshot=snapshot,
        sight=sight,
        kinds=kinds.SECRETS,
        known_causes=frozenset(FailureCause),
        causes=[(cause, HELP.get(cause, "Causes")) for cause in causes],
        grace_seconds=parts().settings.secrets_grace_seconds,
    )


def told() -> ResponseReturnValue:
    """The same as JSON."""
    snapshot = parts().watch.snapshot()
    return json_answer(_told(snapshot, look_at_secrets(snapshot.workers)))


def refresh() -> ResponseReturnValue:
    """Ask every worker to read its secrets now, and tell what each answers."""
    names = {report.name for report in parts().watch.snapshot().workers}
    note("secrets.refresh", "*", after={"workers": len(names)})
    try:
        order = parts().orders.give(OrderKind.SECRETS_REFRESH, author=who().user.name, seconds=REFRESH_SECONDS)
        answers = parts().orders.wait(
            order.id, until=lambda heard: names <= {answer.worker for answer in heard}, timeout=REFRESH_SECONDS
        )
    except redis.RedisError as exc:
        message = Said("secrets.error.redis")
        raise ServiceUnavailableError(message, retry_after=5.0, code="redis_unavailable") from exc
    heard_of = {answer.worker for answer in answers}
    return json_answer(
        {
            "order_id": order.id,
            "answers": [_answer(answer) for answer in sorted(answers, key=lambda answer: answer.worker)],
            "silent": sorted(names - heard_of),
        }
    )


def _answer(answer: OrderAnswer) -> dict[str, Any]:
    return {"worker": answer.worker, "is_done": answer.is_done, "text": answer_in_words(answer)}


def _told(snapshot: Snapshot, sight: SecretsSight) -> dict[str, Any]:
    return {
        "at": snapshot.at,
        "redis_error": snapshot.redis_error,
        **asdict(sight),
        "differ": sight.differ,
    }
