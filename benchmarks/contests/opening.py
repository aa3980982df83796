"""What does a conversation cost to open and to keep? Many are opened, lie still, talk, and talk on."""

from __future__ import annotations

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field, wrong
from benchmarks.generator.conversation_load import conversations
from benchmarks.generator.targets import Target
from benchmarks.goals import Row
from benchmarks.numbers import Pooled, Reading, Total

CONVERSATIONS = 500
TALKING = 200
TALK_SECONDS = 3.0


def _turn(field: Field, relay: Target) -> Readings:
    is_fresh = relay.name not in field.memory
    field.memory[relay.name] = True
    before = field.memory_of(relay) if is_fresh else 0
    meter = field.meter(relay)
    with conversations(field.loop, relay, CONVERSATIONS) as led:
        usage = field.note(relay, f"opening {CONVERSATIONS}", meter)
        readings: dict[str, Reading] = {
            "setup_cpu": Pooled(usage.worker * 1000, CONVERSATIONS),
            "setup_rate": Pooled(CONVERSATIONS, usage.seconds),
        }
        if not is_fresh:  # what is freed is used again: memory tells something only once
            return readings
        marks = [before, field.memory_of(relay)]
        lost = 0
        for _ in range(2):
            (outcomes,), _usage = field.lead(relay, "talking", [("voice", led[:TALKING])], TALK_SECONDS)
            lost += wrong(outcomes)
            marks.append(field.memory_of(relay))
    idle = (marks[1] - marks[0]) / CONVERSATIONS / 1000
    return {
        **readings,
        "memory_idle": idle,
        "memory_active": idle + (marks[2] - marks[1]) / TALKING / 1000,
        "memory_growth": (marks[3] - marks[2]) / TALKING / 1000,
        "lost": Total(lost),
    }


def _rows(setup_milliseconds: float, kilobytes: float) -> tuple[Row, ...]:
    return (
        Row("setup_cpu", "ms", "**CPU to open** a conversation", at_most=setup_milliseconds),
        Row("setup_rate", "1/s", "conversations opened"),
        Row("memory_idle", "kB", "**memory of an idle** conversation", at_most=kilobytes),
        Row("memory_active", "kB", "**memory of an active** conversation", at_most=kilobytes),
        Row("memory_growth", "kB", f"its growth in {TALK_SECONDS:g} s more of talk", at_most=2),
        Row("lost", "", "messages lost or out of turn", at_most=0),
    )


_PARAMETERS = f"{CONVERSATIONS} conversations, {TALKING} talking for {TALK_SECONDS:g} s"

PLAIN = Load(
    name="opening",
    title="Opening and keeping",
    parameters=_PARAMETERS,
    relays=("service", "nginx", "haproxy", "websockets", "flask-sock"),
    rows=_rows(0.6, 35),
    turn=_turn,
    rounds=3,
)
TLS = Load(
    name="opening-tls",
    title="Opening and keeping, TLS to ElevenLabs",
    parameters=f"{_PARAMETERS}, TLS",
    relays=("service", "nginx", "haproxy"),
    rows=_rows(1.2, 55),
    turn=_turn,
    over_tls=True,
    rounds=3,
)
