"""Keys of integrators: made and shown once, listed by their last characters, limited and ended on all nodes at once.

The key decision: the database says what a key may do, and an order makes the workers forget what they knew of it. So a
revocation, or another limit, holds without Redis too, only some seconds later, and the answer says which of the two it
was.
"""

from __future__ import annotations

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
from dashboard.words.said import Said
from service.errors import ConflictError, NotFoundError, SchemaError, ServiceUnavailableError, UnprocessableError
from service.key_limits import characters_used
from service.orders import OrderKind
from service.storage import ApiKey, ApiKeyLimits, ApiScope
from service.storage.api_key_limits import MOST_CHARACTERS, MOST_CONCURRENT
from service.storage.api_keys import LONGEST_NAME, REMEMBER_SECONDS
from service.storage.schema import API_KEY_LIMITS_REVISION, UPGRADE_COMMAND

log = structlog.get_logger(__name__)

FORGET_SECONDS = 2.0
"""How long workers are waited for; whoever has not answered by then forgets the key by itself, see `within_seconds`."""

DAYS = {"30": 30, "90": 90, "365": 365}
LONGEST_DAYS = 3660
MOST = {"max_concurrent": MOST_CONCURRENT, "characters_per_day": MOST_CHARACTERS}


def blueprint() -> Blueprint:
    routes = Blueprint("api_keys", __name__)
    routes.get("/keys")(show)
    routes.get("/api/keys")(listed)
    routes.post("/api/keys")(create)
    routes.post("/api/keys/<key_id>/limits")(change_limits)
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
    good = [row for row in rows if row[1] == "good"]
    return page(
        "api_keys.html",
        "api_keys.title",
        good=good,
        used=_used_today([key for key, _ in good]),
        most=MOST,
        all_scopes=list(ApiScope),
        ended=[row for row in rows if row[1] != "good"],
        unavailable=keys is None,
        tomorrow=(now + timedelta(days=1)).date().isoformat(),
        last_day=(now + timedelta(days=LONGEST_DAYS)).date().isoformat(),
    )


def listed() -> ResponseReturnValue:
    """Every key, newest first, as JSON."""
    now, keys = datetime.now(UTC), parts().api_keys.list_all()
    used = _used_today([key for key in keys if key.is_good(now)])
    return json_answer({"keys": [_told(key, now, used.get(key.id)) for key in reversed(keys)]})


def create() -> ResponseReturnValue:
    """Make a key. The answer has it, and nothing else ever will."""
    require_confirmed()
    body = fields()
    name, expires_at, limits = _name(body), _expiry(body), _limits(body)
    try:
        with parts().database.writing() as session:
            made, key = parts().api_keys.create(name, expires_at=expires_at, limits=limits, within=session)
            note("api_key.create", made.id, after=_noted(made), within=session)
    except SchemaError as exc:
        raise _too_old() from exc
    return json_answer({"key": _told(made, datetime.now(UTC)), "secret": key}, 201)


def change_limits(key_id: str) -> ResponseReturnValue:
    """Let other limits hold for a key in place of all that it has, and have all workers look them up."""
    require_confirmed()
    limits = _limits(fields())
    try:
        with parts().database.writing() as session:
            changed = parts().api_keys.change_limits(key_id, limits, within=session)
            if changed is None:
                raise _not_to_be_limited(key_id)
            before, after = changed
            if before != after:
                note("api_key.limits", key_id, before=_noted(before), after=_noted(after), within=session)
    except SchemaError as exc:
        raise _too_old() from exc
    used = _used_today([after]).get(key_id)
    return json_answer({"key": _told(after, datetime.now(UTC), used), **_have_forgotten()})


def revoke(key_id: str) -> ResponseReturnValue:
    """End a key for good, and have all workers forget that it was good."""
    require_confirmed()
    known = _known(key_id)
    if known.revoked_at is None:
        with parts().database.writing() as session:
            parts().api_keys.revoke(key_id, within=session)
            note("api_key.revoke", key_id, before=_noted(known), within=session)
    return json_answer({"id": key_id, **_have_forgotten()})


def _known(key_id: str) -> ApiKey:
    known = next((key for key in parts().api_keys.list_all() if key.id == key_id), None)
    if known is None:
        raise NotFoundError(Said("api_keys.error.not_found"), code="key_not_found")
    return known


def _not_to_be_limited(key_id: str) -> ConflictError:
    """Why there is nothing to limit: it has ended. Raises NotFoundError: there is none."""
    return ConflictError(Said("api_keys.error.ended", name=_known(key_id).name), code="key_ended")


def _too_old() -> ConflictError:
    command = f"{UPGRADE_COMMAND} {API_KEY_LIMITS_REVISION}"
    return ConflictError(Said("api_keys.error.schema", command=command), code="schema_too_old")


def _have_forgotten() -> dict[str, Any]:
    """How many of the workers have forgotten all keys that they remembered; none may be asked while Redis is away."""
    names = {report.name for report in parts().watch.snapshot().workers}
    try:
        order = parts().orders.give(OrderKind.KEYS_FORGET, author=who().user.name)
        answers = parts().orders.wait(
            order.id,
            until=lambda heard: names <= {answer.worker for answer in heard if answer.is_done},
            timeout=FORGET_SECONDS,
        )
    except redis.RedisError as exc:
        log.warning("workers cannot be told of a changed key", error=type(exc).__name__)
        answers = []
    done = {answer.worker for answer in answers if answer.is_done}
    return {
        "workers": len(names | done),
        "confirmed": len(done),
        "within_seconds": 0.0 if done and names <= done else REMEMBER_SECONDS,
    }


def _name(body: dict[str, Any]) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME or not name.strip().isprintable():
        raise UnprocessableError(Said("api_keys.error.name", longest=LONGEST_NAME), param="name")
    return name.strip()


def _expiry(body: dict[str, Any]) -> datetime | None:
    """When it ends: never, after some days, or at the end of a day (UTC)."""
    choice, now = body.get("expiry", "never"), datetime.now(UTC)
    if choice == "never":
        return None
    if isinstance(choice, str) and choice in DAYS:
        return now + timedelta(days=DAYS[choice])
    if choice != "date":
        raise UnprocessableError(Said("api_keys.error.expiry"), param="expiry")
    try:
        last_day = date.fromisoformat(str(body.get("last_day", ""))[:10])
    except ValueError:
        raise UnprocessableError(Said("api_keys.error.last_day"), param="last_day") from None
    if not now.date() < last_day <= (now + timedelta(days=LONGEST_DAYS)).date():
        raise UnprocessableError(Said("api_keys.error.last_day"), param="last_day")
    return datetime.combine(last_day + timedelta(days=1), time(), UTC)


def _limits(body: dict[str, Any]) -> ApiKeyLimits:
    """What it may be used for: everything that is not switched off, without a limit that is not given."""
    for scope in ApiScope:
        if not isinstance(body.get(scope, True), bool):
            raise UnprocessableError(Said("errors.truth", name=scope), param=scope)
    scopes = frozenset(scope for scope in ApiScope if body.get(scope, True))
    if not scopes:
        raise UnprocessableError(Said("api_keys.error.scope"), param=ApiScope.SPEECH)
    for name, most in MOST.items():
        limit = body.get(name)
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= most):
            raise UnprocessableError(Said("api_keys.error.limit", most=most), param=name)
    return ApiKeyLimits(scopes, body.get("max_concurrent"), body.get("characters_per_day"))


def _used_today(keys: list[ApiKey]) -> dict[str, int]:
    """Characters that keys with a limit of them have used today (UTC), by id; what Redis does not tell is left out."""
    used: dict[str, int] = {}
    try:
        for key in keys:
            if key.limits.characters_per_day is not None:
                used[key.id] = characters_used(parts().redis, key.id)
    except redis.RedisError as exc:
        log.warning("the use of keys is not known", error=type(exc).__name__)
    return used


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "good" if key.is_good(now) else "expired"


def _told(key: ApiKey, now: datetime, used: int | None = None) -> dict[str, Any]:
    return {
        "id": key.id,
        "created_at": key.created_at.isoformat(),
        "revoked_at": None if key.revoked_at is None else key.revoked_at.isoformat(),
        "state": _state(key, now),
        "characters_today": used,
        **_noted(key),
    }


def _noted(key: ApiKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "last_characters": key.last_characters,
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
        "scopes": sorted(key.limits.scopes),
        "max_concurrent": key.limits.max_concurrent,
        "characters_per_day": key.limits.characters_per_day,
    }
