"""What there is to see: two nodes in the middle of an outage, an hour of talk behind them, and who looks at it."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from service.minute_history import MinuteCount
from service.minute_tally import MinuteTally, PoolCounts
from service.pool_stats import PoolStats
from service.redis_keys import CACHE
from service.storage import AdminRole, JudgedAnswer, JudgedAnswers
from tests.dashboard.conversations.talks import keep
from tests.dashboard.dashboards import Dashboard
from tests.dashboard.workers import breaker, limiter, pool_stats, worker_fields

NODES = ("madrid-1", "madrid-2")
FAULT = "server_error: system_busy (provider)"


def set_scene(dashboard: Dashboard) -> None:
    """Put everything there: users, workers in an outage, the last hour, and some conversations that are over."""
    for role in AdminRole:
        dashboard.user(role)
    report_all(dashboard)
    _fill_hour(dashboard)
    _keep_conversations(dashboard)
    dashboard.parts.api_keys.create("Booking site")
    dashboard.parts.api_keys.create("Trial of the partner", expires_at=datetime.now(UTC) + timedelta(days=30))


def report_all(dashboard: Dashboard, *, outage: bool = True, **overrides: Any) -> None:
    """Have all workers report, as they do once a second; these reports are believed as long as tests run."""
    for number, node in enumerate(NODES):
        for worker in ("1", "2"):
            fields = _report(number, worker, outage=outage)
            dashboard.report(**{**fields, "node": node, "worker": worker, **overrides})


def _report(number: int, worker: str, *, outage: bool) -> dict[str, Any]:
    now = time.time()
    talking = 31 + 7 * number + 4 * int(worker)
    on_backup = talking - 5 if outage else 0
    speaking = {"elevenlabs": talking - on_backup, "local": on_backup}
    down = {
        "state": "open", "opened_at": now - 95, "probe_at": now + 25, "last_fault": FAULT, "last_fault_at": now - 96,
        "last_probe": f"bad: {FAULT}", "last_probe_at": now - 35, "calls": 38, "failure_share": 0.71,
    }  # fmt: skip
    return worker_fields(
        1,
        conversations=talking,
        started_at=now - 86_400 * 3 - 1000 * number,
        loop_lag_seconds=0.004 + 0.003 * number,
        speaking={name: count for name, count in speaking.items() if count},
        breakers=(breaker("conversation", **(down if outage else {})), breaker("speech")),
        pools=(_pool("agents", talking - on_backup), _pool("speech", 4)),
        limiters=(_limiter("agents", talking - on_backup), _limiter("speech", 2)),
    )


def _pool(name: str, lent: int) -> PoolStats:
    return pool_stats(
        name, min_idle=8, max_size=1000, max_waiting=200, size=lent + 8, lent=lent, idle=8, requests=18_412,
        served=18_405, reused=17_911, timeouts=4, unopened=3, opened=494, failed=3, returned=18_300, discarded=60,
        lost=9, expired=310, retired=12, wait_seconds=92.1, wait_seconds_recent_max=0.081, use_seconds=220_000.0,
        use_seconds_recent_max=301.0,
    )  # fmt: skip


def _limiter(name: str, held: int) -> dict[str, Any]:
    return limiter(
        name, cap=60, plan_cap=75, reserved=6, held=4 * held, account_current=4 * held + 1, held_here=held,
        grants=9120, refusals=3, timeouts=1, waiting={"live_turn": 0, "greeting": 1, "other": 2},
    )  # fmt: skip


def _fill_hour(dashboard: Dashboard) -> None:
    """As the workers would have counted it: quiet, then an outage twelve minutes ago and one that goes on."""
    chance = random.Random(7)  # the pictures are the same each time
    this_minute = int(time.time() // 60)
    for back in range(60):
        out = back < 2 or 12 <= back < 15
        tally = MinuteTally()
        talks = chance.randint(20, 30)
        tally.add(MinuteCount.CONVERSATIONS, talks)
        tally.add(MinuteCount.TURNS, talks * 6)
        tally.add(MinuteCount.REQUESTS, talks * 9)
        tally.add(MinuteCount.ERRORS, chance.randint(14, 30) if out else chance.randint(0, 1))
        tally.add(MinuteCount.FAILOVERS, chance.randint(16, 34) if out else 0)
        for pool, lent in (("agents", talks * 4), ("speech", talks)):
            counts = PoolCounts.of(pool)
            tally.add(counts.lent_seconds, lent * 60)
            tally.add(counts.callers, talks * 3)
            tally.add(counts.wait_seconds, talks * 3 * chance.uniform(0.004, 0.2 if out else 0.02))
            tally.add(counts.refused, chance.randint(1, 5) if out else 0)
        for _ in range(talks * 3):
            tally.add_first_audio(chance.lognormvariate(-0.3 if out else -0.75, 0.35))
        with dashboard.store.pipeline() as pipeline:
            for count, value in tally.take().items():
                pipeline.hincrbyfloat(f"{CACHE.prefix}minutes:{this_minute - back}", count.value, value)
            pipeline.execute()


def _keep_conversations(dashboard: Dashboard) -> None:
    words = (
        "Hola, ¿puedo cambiar mi reserva?", "Claro. ¿Qué día le viene bien?", "El jueves, si es posible.",
        "El jueves a las diez está libre. ¿Se la cambio?", "Sí, gracias.", "Hecho. Le llegará un correo.",
    )  # fmt: skip
    now = datetime.now(UTC).replace(microsecond=0)
    judged = JudgedAnswers(dashboard.parts.database)
    for number in range(12):
        keep(
            dashboard.parts.database, f"talk_{number:02}", began=now - timedelta(minutes=4 * number + 3), words=words,
            user_id=f"guest-{number}@example.com", switched=number in (0, 3, 4), code=1000 if number != 5 else 1011,
        )  # fmt: skip
    began = now - timedelta(minutes=4 * 3 + 3)
    for answer in (
        JudgedAnswer("talk_03", 1, 1, began + timedelta(seconds=2), "elevenlabs", (), 3.82, 0.04),
        JudgedAnswer("talk_03", 1, 2, began + timedelta(seconds=6), "elevenlabs", ("clipped", "gaps"), 2.41, -1.37),
        JudgedAnswer("talk_03", 2, 3, began + timedelta(seconds=33), "local", ("truncated",), 2.0),
    ):
        judged.put(answer)
