"""What does text to speech over HTTP wait and cost? Requests one after the other on a kept-alive connection.

For the time to the first audio every request is made twice, straight and through, in turn.
"""

from __future__ import annotations

import statistics

from benchmarks.contests.contest import Load, Readings
from benchmarks.contests.field import Field
from benchmarks.generator.fake_upstream import speech_path
from benchmarks.generator.speech_load import SpeechClient
from benchmarks.generator.targets import Target
from benchmarks.goals import Row
from benchmarks.numbers import Pooled

PAIRS = 80
BULK_REQUESTS = 4
CHUNK_BYTES = 8192
WARM_UP_REQUESTS = 5
_SHORT = speech_path(chunks=2, chunk_bytes=4096, gap_ms=5)
_BULK = speech_path(chunks=2048, chunk_bytes=CHUNK_BYTES, gap_ms=0)


def _turn(field: Field, relay: Target) -> Readings:
    with SpeechClient(field.parts.direct) as direct, SpeechClient(relay) as through:
        for _ in range(WARM_UP_REQUESTS):
            direct.speak(_SHORT)
            through.speak(_SHORT)
        meter = field.meter(relay)
        pairs = [(direct.speak(_SHORT), through.speak(_SHORT)) for _ in range(PAIRS)]
        short = field.note(relay, "short speech", meter)
        meter = field.meter(relay)
        size = sum(through.speak(_BULK).size for _ in range(BULK_REQUESTS))
        bulk = field.note(relay, "long speech", meter)
    straight, behind = (
        statistics.median(one.first_byte_seconds for one in each) * 1000 for each in zip(*pairs, strict=True)
    )
    return {
        "added_first": behind - straight,
        "direct_first": straight,
        "request_cpu": Pooled(short.worker * 1000, PAIRS),
        "megabyte_cpu": Pooled(bulk.worker * 1000, size / 1e6),
        "megabytes": Pooled(size / 1e6, bulk.seconds),
    }


LOAD = Load(
    name="speech",
    title="Text to speech over HTTP",
    parameters=f"{PAIRS} pairs, {BULK_REQUESTS} x 2048 chunks of {CHUNK_BYTES} bytes",
    relays=("service", "nginx", "haproxy"),
    rows=(
        Row("added_first", "ms", "**added time to first audio**, p50", at_most=1),
        Row("direct_first", "ms", "without a relay, in turn, p50"),
        Row("megabyte_cpu", "ms", "**CPU for a megabyte** in chunks of 8 kB", times_nginx=2),
        Row("request_cpu", "ms", "CPU for a request of 8 kB"),
        Row("megabytes", "MB/s", "audio passed on, one answer at a time"),
    ),
    turn=_turn,
)
