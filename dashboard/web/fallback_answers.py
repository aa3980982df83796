"""The fallback as JSON: what `/api/fallback` and its neighbours answer. Times are ISO 8601 in UTC."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from dashboard.sight.affected import Affected
from dashboard.sight.providers import CapabilityView, ProviderView
from dashboard.sight.switches import Ordered, Switched
from service.storage import Override


def view_as_json(view: CapabilityView) -> dict[str, Any]:
    """One capability."""
    obedience = view.obedience
    return {
        "capability": view.capability.value,
        "mode": view.mode.value,
        "is_expired": view.is_expired,
        "override": override_as_json(view.override),
        "workers": None
        if obedience is None
        else {
            "all": obedience.workers,
            "obeying": obedience.obeying,
            "behind": list(obedience.behind),
            "silent": obedience.silent,
        },
        "other_chains": view.other_chains,
        "providers": [_provider(each) for each in view.providers],
    }


def override_as_json(override: Override) -> dict[str, Any]:
    """An override as it was set."""
    return {
        "version": override.version,
        "mode": override.mode.value,
        "reason": override.reason,
        "author": override.author,
        "set_at": moment(override.set_at),
        "expires_at": moment(override.expires_at),
    }


def affected_as_json(affected: Affected) -> dict[str, Any]:
    """Who would feel it."""
    return {
        "mode": affected.mode.value,
        "is_known": affected.is_known,
        "conversations": {"all": affected.total, "by_provider": dict(affected.conversations)},
        "moving": affected.moving,
        "to": affected.after,
        "began_in_the_last_minute": affected.lately,
    }


def happenings_as_json(events: Iterable[Switched | Ordered]) -> list[dict[str, Any]]:
    """What happened, newest first."""
    return [_switched(each) if isinstance(each, Switched) else _ordered(each) for each in events]


def moment(at: datetime | float | None) -> str | None:
    """A moment, from a time or from Unix time."""
    if at is None:
        return None
    found = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return found.astimezone(UTC).isoformat(timespec="milliseconds")


def _provider(view: ProviderView) -> dict[str, Any]:
    breaker = view.breaker
    return {
        "provider": view.provider,
        "place": view.place,
        "standing": view.standing.value,
        "workers": view.workers,
        "conversations": view.conversations,
        "breaker": None
        if breaker is None
        else {
            "state": breaker.state,
            "states": dict(breaker.states),
            "calls": breaker.calls,
            "failure_share": breaker.failure_share,
            "slow_share": breaker.slow_share,
            "opened_at": moment(breaker.opened_at),
            "last_fault": breaker.last_fault,
            "last_fault_at": moment(breaker.last_fault_at),
            "last_probe": breaker.last_probe,
            "last_probe_at": moment(breaker.last_probe_at),
            "next_probe_at": moment(breaker.probe_at),
        },
    }


def _switched(event: Switched) -> dict[str, Any]:
    return {
        "kind": "switched",
        "at": moment(event.at),
        "since": moment(event.since),
        "from": event.before,
        "to": event.after,
        "cause": event.cause,
        "conversations": event.count,
        "examples": list(event.conversations),
    }


def _ordered(event: Ordered) -> dict[str, Any]:
    return {
        "kind": "ordered",
        "at": moment(event.at),
        "capability": event.capability,
        "mode": event.mode,
        "previous": event.previous,
        "author": event.author,
        "reason": event.reason,
        "expires_at": moment(event.expires_at),
    }
