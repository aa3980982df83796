"""Worker reports as tests want them: a fleet of ordinary workers, and what makes one special."""

from __future__ import annotations

import time
from typing import Any

from service.fallback.breaker_report import BreakerReport
from service.pool_reports import WorkerReport
from service.pool_stats import PoolStats

CHAIN = ("elevenlabs", "local")


def worker_fields(number: int = 1, *, now: float | None = None, **changes: Any) -> dict[str, Any]:
    """The fields of the report of the worker `number`: four workers a node, six conversations each."""
    moment = time.time() if now is None else now
    fields: dict[str, Any] = {
        "node": f"node-{(number - 1) // 4 + 1}",
        "worker": str(number),
        "reported_at": moment,
        "version": "0.1.0",
        "conversations": 6,
        "capacity": 800,
        "started_at": moment - 3600,
        "loop_lag_seconds": 0.004,
        "dependencies": {"redis": "ok", "database": "ok", "secrets": "ok"},
        "speaking": {"elevenlabs": 6},
        "pools": (pool_stats("agents"), pool_stats("speech")),
        "limiters": (limiter("agents"), limiter("speech", held=1)),
        "breakers": tuple(breaker(capability) for capability in ("conversation", "speech")),
        "secrets": {
            "source": "vault", "state": "fresh", "version": 3, "names": ["elevenlabs_api_key"], "read_at": moment - 10,
            "age_seconds": 10.0, "lease_ends_at": None, "last_error": None, "last_cause": None, "failed_at": None,
        },
        "chains": {"conversation": CHAIN, "speech": CHAIN},
        "modes": {"conversation": 0, "speech": 0},
    }  # fmt: skip
    return {**fields, **changes}


def worker(number: int = 1, **changes: Any) -> WorkerReport:
    """The same as a report."""
    return WorkerReport(**worker_fields(number, **changes))


def pool_stats(name: str, **changes: Any) -> PoolStats:
    """A pool of four places, of which one is lent."""
    fields: dict[str, Any] = {
        "min_idle": 2, "max_size": 4, "size": 3, "lent": 1, "idle": 2, "requests": 10, "served": 10, "reused": 8,
        "opened": 3, "returned": 9, "wait_seconds": 0.5, "wait_seconds_recent_max": 0.2, "use_seconds": 18.0,
    }  # fmt: skip
    return PoolStats(name=name, **{**fields, **changes})


def limiter(name: str, **changes: Any) -> dict[str, Any]:
    """A limiter of ten slots, four of which are held."""
    fields = {
        "name": name, "cap": 10, "plan_cap": 10, "reserved": 2, "held": 4,
        "waiting": {"live_turn": 0, "greeting": 0, "other": 0}, "account_current": 4, "held_here": 1, "grants": 100,
        "refusals": 0, "full": 0, "timeouts": 0, "lost": 0, "degraded": False,
    }  # fmt: skip
    return {**fields, **changes}


def breaker(capability: str, *, state: str = "closed", provider: str = "elevenlabs", **changes: Any) -> BreakerReport:
    """A breaker that has seen twenty calls."""
    fields: dict[str, Any] = {
        "opened_at": None, "probe_at": None, "last_fault": None, "last_fault_at": None, "last_probe": None,
        "last_probe_at": None, "calls": 20, "failure_share": 0.0, "slow_share": 0.0,
    }  # fmt: skip
    return BreakerReport(provider=provider, capability=capability, state=state, **{**fields, **changes})
