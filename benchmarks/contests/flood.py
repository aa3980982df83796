"""What does a message cost when the relay is saturated? A few conversations as fast as they go, one way at a time."""

from __future__ import annotations

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field, messages, wrong
from benchmarks.generator.targets import Target
from benchmarks.goals import Row
from benchmarks.numbers import Pooled, Reading, Total

CONVERSATIONS = 4
SECONDS = 1.5


def _turn(field: Field, relay: Target) -> Readings:
    led = field.conversations(relay, CONVERSATIONS)
    readings: dict[str, Reading] = {}
    lost = 0
    for way in ("up", "down"):
        (outcomes,), usage = field.lead(relay, f"flood {way}", [(f"flood {way}", led)], SECONDS)
        lost += wrong(outcomes)
        readings[f"rate_{way}"] = Pooled(messages(outcomes), SECONDS)
        readings[f"own_{way}"] = Pooled((usage.client + usage.upstream) * 1e6, messages(outcomes))
        if relay.worker_pids:
            readings[f"cpu_{way}"] = Pooled(usage.worker * 1e6, messages(outcomes))
    return {**readings, "lost": Total(lost)} if relay.worker_pids else readings


def _rows(times_nginx: float) -> tuple[Row, ...]:
    return (
        Row("cpu_up", "µs", "**CPU for a message**, client to agent", times_nginx=times_nginx),
        Row("cpu_down", "µs", "**CPU for a message**, agent to client", times_nginx=times_nginx),
        Row("rate_up", "1/s", "messages, client to agent"),
        Row("rate_down", "1/s", "messages, agent to client"),
        Row("own_up", "µs", "the load's own CPU for a message, client to agent"),
        Row("own_down", "µs", "the load's own CPU for a message, agent to client"),
        Row("lost", "", "messages lost or out of turn", at_most=0),
    )


_PARAMETERS = f"{CONVERSATIONS} conversations, {SECONDS:g} s"

PLAIN = Load(
    name="flood",
    title="Saturated",
    parameters=_PARAMETERS,
    relays=("service", "nginx", "haproxy", "websockets", "flask-sock"),
    rows=_rows(1.5),
    turn=_turn,
    with_direct=True,
)
TLS = Load(
    name="flood-tls",
    title="Saturated, TLS to ElevenLabs",
    parameters=f"{_PARAMETERS}, TLS",
    relays=("service", "nginx", "haproxy"),
    rows=_rows(1.3),
    turn=_turn,
    over_tls=True,
)
