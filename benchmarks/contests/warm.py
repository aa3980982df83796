"""What does a pool of ready connections save? The time from a client's first byte to the agent's first event.

The key decision: the upstream is as far away as ElevenLabs is, because what the pool saves is round trips. Warm and
cold are measured in turn: cold is a service in which nothing was prepared, its pool off. Between them stands a
conversation that comes together with as many others as there are connections ready: none is left for it, but what the
pool begins at once for the next ones is under way.
"""

from __future__ import annotations

import statistics
import time

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field
from benchmarks.generator.conversation_load import OPEN_SECONDS, ClientConversation, LoadError
from benchmarks.generator.targets import Target
from benchmarks.goals import Row

READY = 4
PAIRS = 15
ROUND_TRIP_MS = 20.0
REFILL_SECONDS = 12 * ROUND_TRIP_MS / 1000
"""Twice what it takes to connect and to fetch the signed URLs one after the other."""

SERVICE_WITHOUT = "service-off"


def _turn(field: Field, relay: Target) -> Readings:
    if relay.name == SERVICE_WITHOUT:
        return {"first_event": statistics.median(_first_event(field, relay, 0) for _ in range(PAIRS))}
    cold = next((one for one in field.parts.relays if one.name == SERVICE_WITHOUT), None)
    if cold is None:
        raise LoadError(f"there is nothing to compare with: {SERVICE_WITHOUT} is left out")
    found = []
    for _ in range(PAIRS):
        field.loop.run_for(REFILL_SECONDS)
        warm = _first_event(field, relay, 0)
        field.loop.run_for(REFILL_SECONDS)
        found.append((warm, _first_event(field, cold, 0), _first_event(field, relay, READY)))
    warm, off, none_left = (statistics.median(each) for each in zip(*found, strict=True))
    return {
        "first_event": warm,
        "share": warm / off,
        "none_left": none_left,
        "share_none_left": warm / none_left,
    }


def _first_event(field: Field, relay: Target, others: int) -> float:
    """Milliseconds until a conversation has its metadata; `others` begin just before it."""
    opened = [ClientConversation(field.loop, relay) for _ in range(others)]
    started = time.monotonic()
    last = ClientConversation(field.loop, relay)
    opened.append(last)
    try:
        field.loop.run_until(
            lambda: last.is_ready or last.problem is not None, limit_seconds=OPEN_SECONDS, what="the first event"
        )
        if last.problem is not None:
            raise LoadError(f"{relay.name}: {last.problem}")
        return (time.monotonic() - started) * 1000
    finally:
        for conversation in opened:
            conversation.close()


LOAD = Load(
    name="warm",
    title="A warm pool, TLS to ElevenLabs",
    parameters=f"{READY} connections ready, {PAIRS} pairs, {ROUND_TRIP_MS:g} ms to the upstream and back",
    relays=("service", SERVICE_WITHOUT),
    rows=(
        Row("first_event", "ms", "time to the first event, p50"),
        Row("share", "", "**warm over cold**", at_most=0.5),
        Row("none_left", "ms", "the same when others have just taken all that were ready, p50"),
        Row("share_none_left", "", "warm over that"),
    ),
    turn=_turn,
    over_tls=True,
    services={"service": {"VOCERO_POOL_AGENTS_MIN_IDLE": str(READY)}, SERVICE_WITHOUT: {}},
    round_trip_ms=ROUND_TRIP_MS,
)
