"""Keys of integrators: made and shown once, listed by their last characters, ended on all nodes at once.

The key decision: the database ends a key, and an order makes the workers forget that they knew it. So a revocation
holds without Redis too, only some seconds later, and the answer says which of the two it was.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import redis
import structlog
from flask import Blueprint
from flask.typing import ResponseReturnValue

from dashboard.access.confirmation import require_confirmed
from dashboard.web.answers import fields, json_answer, page
from dashboard.web.audit_trail import note
from dashboard.web.context import parts, who
from dashboard.web.looks import language
from dashboard.words import translate
from service.errors import NotFoundError, ServiceUnavailableError, UnprocessableError
from service.orders import OrderKind
from service.storage import ApiKey

log = structlog.get_logger(__name__)

LONGEST_NAME = 200
FORGET_SECONDS = 2.0
"""How long workers are waited for; whoever has not answered by then forgets the key by itself, see `within_seconds`."""

REMEMBERED_SECONDS = 5.0
"""For how long a worker that did not hear of it goes on knowing a key (`service.storage.api_keys`)."""

DAYS = {"30": 30, "90": 90, "365": 365}
LONGEST_DAYS = 3660


def blueprint() -> Blueprint:
    routes = Blueprint("api_keys", __name__)
    routes.get("/keys")(show)
    routes.get("/api/keys")(listed)
    routes.post("/api/keys")(create)
    routes.post("/api/keys/<key_id>/revoke")(revoke)
    return routes


def show() -> ResponseReturnValue:
    """The page."""
    keys: list[ApiKey] | None
    try:
        keys = parts().api_keys.list_all()
    except ServiceUnavailableError:
        keys = None
    now = datetime.now(UTC)
    rows = [(key, _state(key, now)) for key in reversed(keys or [])]
    return page(
        "api_keys.html",
        "api_keys.title",
        good=[row for row in rows if row[1] == "good"],
        ended=[row for row in rows if row[1] != "good"],
        unavailable=keys is None,
        tomorrow=(now + timedelta(days=1)).date().isoformat(),
        last_day=(now + timedelta(days=LONGEST_DAYS)).date().isoformat(),
    )


def listed() -> ResponseReturnValue:
    """Every key, newest first, as JSON."""
    now = datetime.now(UTC)
    return json_answer({"keys": [_told(key, now) for key in reversed(parts().api_keys.list_all())]})


def create() -> ResponseReturnValue:
    """Make a key. The answer has it, and nothing else ever will."""
    require_confirmed()
    body = fields()
    name, expires_at = _name(body), _expiry(body)
    with parts().database.writing() as session:
        made, key = parts().api_keys.create(name, expires_at=expires_at, within=session)
        note("api_key.create", made.id, after=_noted(made), within=session)
    return json_answer({"key": _told(made, datetime.now(UTC)), "secret": key}, 201)


def revoke(key_id: str) -> ResponseReturnValue:
    """End a key for good, and have all workers forget that it was good."""
    require_confirmed()
    known = next((key for key in parts().api_keys.list_all() if key.id == key_id), None)
    if known is None:
        raise NotFoundError(_say("error.not_found"), code="key_not_found")
    if known.revoked_at is None:
        with parts().database.writing() as session:
            parts().api_keys.revoke(key_id, within=session)
            note("api_key.revoke", key_id, before=_noted(known), within=session)
    return json_answer({"id": key_id, **_have_forgotten()})


def _have_forgotten() -> dict[str, Any]:
    """How many of the workers have forgotten all keys that they remembered; none may be asked while Redis is away."""
    names = {f"{report.node}/{report.worker}" for report in parts().watch.snapshot().workers}
    try:
        order = parts().orders.give(OrderKind.KEYS_FORGET, author=who().user.name)
        answers = parts().orders.wait(
            order.id,
            until=lambda heard: names <= {answer.worker for answer in heard if answer.is_done},
            timeout=FORGET_SECONDS,
        )
    except redis.RedisError as exc:
        log.warning("workers cannot be told of a revoked key", error=type(exc).__name__)
        answers = []
    done = {answer.worker for answer in answers if answer.is_done}
    return {
        "workers": len(names | done),
        "confirmed": len(done),
        "within_seconds": 0.0 if done and names <= done else REMEMBERED_SECONDS,
    }


def _name(body: dict[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME or not name.strip().isprintable():
        raise UnprocessableError(_say("error.name", longest=LONGEST_NAME), param="name")
    return name.strip()


def _expiry(body: dict[str, Any]) -> datetime | None:
    """When it ends: never, after some days, or at the end of a day (UTC)."""
    choice, now = body.get("expiry", "never"), datetime.now(UTC)
    if choice == "never":
        return None
    if isinstance(choice, str) and choice in DAYS:
        return now + timedelta(days=DAYS[choice])
    if choice != "date":
        raise UnprocessableError("expiry is never, 30, 90, 365 or date.", param="expiry")
    try:
        last_day = date.fromisoformat(str(body.get("last_day", ""))[:10])
    except ValueError:
        raise UnprocessableError(_say("error.last_day"), param="last_day") from None
    if not now.date() < last_day <= (now + timedelta(days=LONGEST_DAYS)).date():
        raise UnprocessableError(_say("error.last_day"), param="last_day")
    return datetime.combine(last_day + timedelta(days=1), time(), UTC)


def _say(key: str, **values: Any) -> str:
    return translate(f"api_keys.{key}", language(), **values)


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "good" if key.is_good(now) else "expired"


def _told(key: ApiKey, now: datetime) -> dict[str, Any]:
    told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(key).items()}
    return {**told, "state": _state(key, now)}


def _noted(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "last_characters": key.last_characters,
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
    }
