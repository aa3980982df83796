"""What is measured: name, unit, meaning and goal of every number stand here and nowhere else."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A number of a run. `goal` is what it has to stay below (at 0: what it has to be); None: it only informs."""

    name: str
    unit: str
    meaning: str
    goal: float | None = None

    def is_met(self, value: float) -> bool:
        """Whether `value` is good enough."""
        return self.goal is None or value < self.goal or value == self.goal == 0


def _delay_metrics() -> list[Metric]:
    found = []
    for direction, who in (("up", "client to agent"), ("down", "agent to client")):
        for quantile, goal in (("p50", 2.0), ("p99", 10.0)):
            of = f"{quantile} of an audio message, {who}"
            found += [
                Metric(f"audio_{direction}_direct_{quantile}", "ms", f"delay, {of}: direct"),
                Metric(f"audio_{direction}_service_{quantile}", "ms", f"delay, {of}: through the service"),
                Metric(f"audio_{direction}_added_{quantile}", "ms", f"**added delay**, {of}", goal),
            ]
    return found


METRICS: Sequence[Metric] = (
    *_delay_metrics(),
    Metric("audio_lost", "messages", "lost or out of turn, in all loads of the run", 0.0),
    Metric("speech_direct_p50", "ms", "time to first audio byte of `/stream`, p50: direct"),
    Metric("speech_service_p50", "ms", "time to first audio byte of `/stream`, p50: through the service"),
    Metric("speech_added_p50", "ms", "**added time to first audio byte** of `/stream`, p50", 3.0),
    Metric("speech_request_cpu", "ms", "CPU of the worker for a speech request of 8 kB"),
    Metric("speech_cpu_per_megabyte", "ms", "CPU of the worker for 1 MB of speech in 8 kB chunks"),
    Metric("memory_idle", "kB", "**memory of an idle conversation** (of 500)", 100.0),
    Metric("memory_active", "kB", "memory of an active conversation (of 50)"),
    Metric("memory_growth", "kB", "growth of an active conversation's memory in 20 s of talk", 10.0),
    Metric("setup_cpu", "ms", "CPU of the worker to open a conversation"),
    Metric("frame_cpu_voice", "µs", "CPU of the worker for a message, 50 conversations at voice rate"),
    Metric("frame_cpu_flood_up", "µs", "CPU of the worker for a message of a flood, client to agent"),
    Metric("frame_cpu_flood_down", "µs", "CPU of the worker for a message of a flood, agent to client"),
    Metric("flood_up_rate", "1/s", "messages of a flood, client to agent"),
    Metric("flood_down_rate", "1/s", "messages of a flood, agent to client"),
)


@dataclass(frozen=True)
class Value:
    """A metric's values over the runs."""

    metric: Metric
    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_met(self) -> bool:
        return self.metric.is_met(self.median)


def collect(runs: Sequence[Mapping[str, float]]) -> list[Value]:
    """The metrics that were measured, in the order above, with their values over `runs`."""
    return [
        Value(metric, [run[metric.name] for run in runs if metric.name in run])
        for metric in METRICS
        if any(metric.name in run for run in runs)
    ]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that at least `share` of them do not exceed."""
    ranked = sorted(values)
    return ranked[max(1, math.ceil(share * len(ranked))) - 1]
