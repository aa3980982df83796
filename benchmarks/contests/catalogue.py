"""Every load by its name, in the order in which they are run and reported."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.contests import capacity, fairness, flood, half_load, integrity, opening, pieces, speech, voice, warm
from benchmarks.contests.contest import Load

LOADS: Mapping[str, Load] = {
    load.name: load
    for load in (
        flood.PLAIN,
        flood.TLS,
        pieces.LOAD,
        voice.LOAD,
        half_load.LOAD,
        opening.PLAIN,
        opening.TLS,
        warm.LOAD,
        speech.LOAD,
        fairness.LOAD,
        integrity.LOAD,
        capacity.PLAIN,
        capacity.TLS,
    )
}
LONG = frozenset({integrity.LOAD.name, capacity.PLAIN.name, capacity.TLS.name})
"""Those that take many minutes: only with `--all`, or by name."""
