"""Two nodes that report: ElevenLabs first, the backup behind it, and five people who talk."""

from __future__ import annotations

import time
from typing import Any

import pytest

from service.fallback.breaker_report import BreakerReport
from tests.dashboard.dashboards import Dashboard

CHAIN = ("elevenlabs", "local")
CHAINS = {"conversation": CHAIN, "speech": CHAIN}
MODES = {"conversation": 0, "speech": 0}


def breaker(state: str = "closed", *, capability: str = "conversation", **others: Any) -> BreakerReport:
    """What a worker says of ElevenLabs."""
    return BreakerReport(provider="elevenlabs", capability=capability, state=state, **others)


@pytest.fixture
def fleet(dashboard: Dashboard) -> Dashboard:
    """The dashboard, which sees a worker of each node."""
    opened = {"opened_at": time.time() - 20, "probe_at": time.time() + 10}
    faults = {"last_fault": "server_error: system_busy (provider)", "last_fault_at": time.time() - 21}
    probes = {"last_probe": "bad: silent: read_timeout (provider)", "last_probe_at": time.time() - 5}
    dashboard.report(
        node="north", chains=CHAINS, speaking={"elevenlabs": 3}, conversations=3, breakers=(breaker(),), modes=MODES
    )
    dashboard.report(
        node="south", chains=CHAINS, speaking={"elevenlabs": 1, "local": 1}, conversations=2, modes=MODES,
        breakers=(breaker("open", calls=8, failure_share=0.75, **opened, **faults, **probes),),
    )  # fmt: skip
    return dashboard
