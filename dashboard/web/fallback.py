"""The page of the fallback: who speaks, who would be next, and the switch by which people decide it themselves.

The key decision: an order is set only over the one that its author has seen. Who comes second is told what the first
one did, and decides anew. And an order that cannot be written down with its audit entry is not given.
"""

from __future__ import annotations

import time
from typing import Any

import redis
from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from dashboard.access.confirmation import require_confirmed
from dashboard.access.permissions import Permission
from dashboard.sight.affected import Affected, see_affected
from dashboard.sight.providers import CapabilityView, newest_overrides, see_capability
from dashboard.sight.switches import Switched
from dashboard.sight.watch import Snapshot
from dashboard.web import canaries, kinds
from dashboard.web.answers import fields, json_answer, page
from dashboard.web.context import parts, who
from dashboard.web.fallback_answers import affected_as_json, happenings_as_json, moment, override_as_json, view_as_json
from dashboard.web.looks import language
from dashboard.web.override_request import read_mode, read_override_request
from dashboard.words import translate
from dashboard.words.said import Said
from service.errors import ConflictError, NotFoundError, ServiceUnavailableError
from service.minute_history import Minute, read_minutes
from service.storage import Capability, Override, OverrideConflictError, OverrideMode

DURATIONS = (("900", "15_minutes"), ("3600", "1_hour"), ("14400", "4_hours"), ("86400", "24_hours"))


def blueprint() -> Blueprint:
    routes = Blueprint("fallback", __name__)
    routes.get("/fallback")(show)
    routes.get("/api/fallback")(told)
    routes.get("/api/fallback/<capability>/preview")(preview)
    routes.post("/api/fallback/<capability>")(order)
    canaries.add_to(routes)
    return routes


def show() -> ResponseReturnValue:
    """The page."""
    snapshot = parts().watch.snapshot()
    happened, database_error = parts().happenings.newest()
    may_be_unlimited = who().may(Permission.ADMINISTER)
    choices = [*DURATIONS, ("own", "own"), *([("unlimited", "unlimited")] if may_be_unlimited else [])]
    return page(
        "fallback.html",
        "fallback.title",
        snapshot=snapshot,
        views=_views(snapshot),
        modes=[mode.value for mode in OverrideMode],
        standing_kinds=kinds.STANDINGS,
        mode_kinds=kinds.MODES,
        durations=[(value, say(f"duration.{name}")) for value, name in choices],
        name=provider_name,
        cause=lambda word: _or_itself(f"cause.{word}", word),
        fault_word=_fault,
        probe_words=_probe,
        is_switch=lambda event: isinstance(event, Switched),
        happened=happened,
        database_error=database_error or snapshot.database_error,
    )


def told() -> ResponseReturnValue:
    """The same as JSON."""
    snapshot = parts().watch.snapshot()
    happened, database_error = parts().happenings.newest()
    return json_answer(
        {
            "at": moment(snapshot.at or None),
            "redis_error": snapshot.redis_error,
            "database_error": database_error or snapshot.database_error,
            "capabilities": [view_as_json(view) for view in _views(snapshot)],
            "happened": happenings_as_json(happened),
        }
    )


def preview(capability: str) -> ResponseReturnValue:
    """Who would feel a mode, in numbers and in words."""
    chosen = _capability(capability)
    snapshot = parts().watch.snapshot()
    affected = see_affected(snapshot, _view(snapshot, chosen), read_mode(request.args.get("mode")), minutes=_minutes())
    return json_answer({**affected_as_json(affected), "text": _in_words(chosen, affected)})


def order(capability: str) -> ResponseReturnValue:
    """Set an override."""
    chosen = _capability(capability)
    wanted = read_override_request(fields(), may_be_unlimited=who().may(Permission.ADMINISTER))
    if wanted.mode is OverrideMode.DISABLED:
        require_confirmed()
    chain = _view(parts().watch.snapshot(), chosen).chain
    if wanted.mode is OverrideMode.FORCED_FALLBACK and len(chain) == 1:
        raise ConflictError(Said("fallback.error.no_fallback", provider=provider_name(chain[0])), code="no_fallback")
    try:
        made = parts().overrides.set(
            chosen, wanted.mode, reason=wanted.reason, author=who().user.name, expected_version=wanted.version,
            seconds=wanted.seconds, allow_unlimited=wanted.seconds is None, address=who().address,
            request_id=who().request_id,
        )  # fmt: skip
    except OverrideConflictError as exc:
        # The page shows what was done meanwhile and keeps what was typed.
        error = {"code": exc.code, "message": _conflict(exc.current), "param": None}
        return json_answer({"error": error, "override": override_as_json(exc.current)}, 409)
    except ServiceUnavailableError as exc:
        raise ServiceUnavailableError(
            Said("fallback.error.database"), retry_after=5.0, code="database_unavailable"
        ) from exc
    parts().happenings.forget()
    return json_answer({"override": override_as_json(made)})


def provider_name(provider: str) -> str:
    """What people call it; a provider that we have no word for keeps its own."""
    return _or_itself(f"provider.{provider}", provider)


def say(key: str, **values: Any) -> str:
    """Words of this page."""
    return translate(f"fallback.{key}", language(), **values)


def _fault(told: str) -> str:
    """In words what a worker tells of a fault ("busy: system_busy (provider)"): its first word is a cause."""
    return _or_itself(f"cause.{told.partition(' ')[0].rstrip(':')}", "")


def _probe(told: str) -> tuple[str, str, str]:
    """The same for a check ("good: 0.42 s", "bad: busy: system_busy (provider)"): its kind, in words, and the rest."""
    result, _, rest = told.partition(": ")
    return kinds.PROBES.get(result, "off"), _or_itself(f"probe.{result}", result), rest


def _or_itself(key: str, itself: str) -> str:
    text = say(key)
    return itself if text == f"fallback.{key}" else text


def _capability(name: str) -> Capability:
    try:
        return Capability(name)
    except ValueError:
        raise NotFoundError(Said("fallback.error.capability"), code="capability_not_found") from None


def _views(snapshot: Snapshot) -> list[CapabilityView]:
    return [_view(snapshot, capability) for capability in Capability]


def _view(snapshot: Snapshot, capability: Capability) -> CapabilityView:
    held = [parts().overrides.current(each) for each in Capability]
    return see_capability(snapshot, newest_overrides(snapshot, held)[capability], now=time.time())


def _minutes() -> list[Minute] | None:
    try:
        return read_minutes(parts().redis, minutes=2)
    except redis.RedisError:
        return None


def _in_words(capability: Capability, affected: Affected) -> str:
    """Sentences for whoever is about to order it."""
    if not affected.is_known:
        return say("preview.unknown")
    name = capability.value
    mode = affected.mode.value
    sentences = []
    if affected.is_nobody:
        sentences.append(say("preview.nobody"))
    elif capability is Capability.CONVERSATION:
        sentences.append(say("preview.talking", count=affected.total, by_provider=_by_provider(affected)))
        sentences.append(_moving(affected))
    after = provider_name(affected.after or "")
    if not affected.is_nobody:
        sentences.append(say(f"preview.{name}.{mode}", to=after))
    if affected.lately is not None:
        sentences.append(say(f"preview.{name}.lately", count=affected.lately))
    return " ".join(sentence for sentence in sentences if sentence)


def _moving(affected: Affected) -> str:
    if affected.mode is OverrideMode.AUTO or not affected.total:
        return ""
    if not affected.moving:
        return say("preview.nobody_moves")
    if affected.mode is OverrideMode.DISABLED:
        return say("preview.ending", count=affected.moving)
    return say("preview.moving", count=affected.moving, to=provider_name(affected.after or ""))


def _by_provider(affected: Affected) -> str:
    told = [f"{provider_name(name)}: {count}" for name, count in sorted(affected.conversations.items())]
    return f" ({', '.join(told)})" if told else ""


def _conflict(current: Override) -> str:
    return say("error.conflict", author=current.author, mode=say(f"mode.{current.mode.value}"), reason=current.reason)
