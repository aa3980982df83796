"""The whole drill: people talk, ElevenLabs fails, who is on call hears of it and of its end; every query has an answer.

Real parts: the service with two workers, sandbox, Valkey, PostgreSQL, Prometheus and Alertmanager. The rules' clock is
sixty times as fast: an hour's window is a minute long.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from grafana import queries
from migrations import runner
from scripts.launcher.waiting import wait_until
from tests import alerting, monitoring, promql
from tests.campaign import campaign
from tests.campaign.caller import Caller, Line, TalkError
from tests.campaign.campaign import QUESTIONS, Scene
from tests.conftest import StartSandbox, StartService
from tests.parts import require_module
from tests.rollbacks.places import create_database
from tests.servers import ROOT, RunningService, clean_environment, free_port

FACTOR = 60.0
LIMIT = 40.0
AT_ONCE = 12
MOST_ROUNDS = 2
VARIABLES = {"__rate_interval": "10m", "__interval": "1m"}
"""Grafana's own, on the slow clock."""
SETTINGS = {
    "VOCERO_WORKERS": "2",
    "VOCERO_FALLBACK_CHAIN": "elevenlabs,local",
    "VOCERO_FALLBACK_FAQ": str(campaign.FAQ_FILE),
    "VOCERO_FALLBACK_EARS": "false",
    "VOCERO_AGENT_THINKING_SECONDS": "20",  # a busy machine is no late answer
    "VOCERO_BREAKER_OPEN_SECONDS": "1",
    "VOCERO_BREAKER_LONGEST_OPEN_SECONDS": "1",
    "VOCERO_BREAKER_PROBE_SECONDS": "0.5",
    "VOCERO_BREAKER_DWELL_SECONDS": "1",
    "VOCERO_BREAKER_RAMP_SECONDS": "0",
    "VOCERO_BREAKER_FLAP_SECONDS": "1",
    "VOCERO_COST_FETCH": "true",  # the quota is read with it
    "VOCERO_QUALITY_SAMPLE_SHARE": "1",
    "VOCERO_AGENTS_CONCURRENCY": "100",
    "VOCERO_SPEECH_CONCURRENCY": "100",
}
OF_THE_OUTAGE = {
    "BreakerOpen",
    "BreakerOpenForLong",
    "SetUpBudgetBurns",
    "TurnBudgetBurns",
    "KeyRefused",
    "QuotaAlmostGone",
}
"""What nobody is told before it. Others may come of a busy machine: its event loops are late, and its answers."""

WITHOUT_DATA = {
    "Vocero: platform: Secrets that could not be read": "the key is from the environment, where it is read once",
}
"""Panels that may be empty, and why; all others must show something."""


@dataclass(frozen=True)
class Stack:
    """All that runs."""

    service: RunningService
    scene: Scene
    prometheus: monitoring.Prometheus
    heard: monitoring.Webhook
    began: float

    def metrics(self) -> str:
        """What the service's ops listener says."""
        return requests.get(f"{self.service.ops_url}/metrics", timeout=10).text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("drill")


@pytest.fixture
def stack(folder: Path, start_sandbox: StartSandbox, start_service: StartService, postgresql: str) -> Iterator[Stack]:
    require_module("espeakng_loader", "local")
    sandbox = start_sandbox(*campaign.SANDBOX_OPTIONS)
    url = create_database(postgresql)
    runner.upgrade(url)
    service = start_service(
        ELEVENLABS_BASE_URL=sandbox.url, VOCERO_DATABASE_URL=url, VOCERO_OPS_PORT=str(free_port()), **SETTINGS
    )
    with ExitStack() as parts:
        heard = parts.enter_context(monitoring.webhook())
        tells = parts.enter_context(monitoring.alertmanager(folder, tells=heard, factor=4 * FACTOR))
        target = service.ops_url.removeprefix("http://")
        watching = parts.enter_context(monitoring.prometheus(folder, target, alertmanager=tells, factor=FACTOR))
        wait_until(lambda: bool(watching.now('up{job="vocero"} == 1')), LIMIT, "the first scrape")
        yield Stack(service, Scene(service.url, sandbox.url), watching, heard, time.time())


def test_who_is_on_call_hears_of_an_outage_and_of_its_end_and_every_query_has_an_answer(stack: Stack) -> None:
    talk(stack, "calm", 24)
    assert not {told.name for told in stack.heard.told} & OF_THE_OUTAGE
    stack.scene.arm([{"route": "agents.conversation", "turn": 2, "after_characters": 5, "drop_after_frames": 0}])
    talk(stack, "broken", 2, breaks_in=False)
    order(stack, "forced_primary")
    stack.scene.arm([{"route": "agents.*", "code": "service_unavailable"}])
    talk(stack, "struck", 24)
    opened = stack.heard.wait_for("BreakerOpen", "firing", LIMIT, provider="elevenlabs", capability="conversation")
    burning = stack.heard.wait_for("SetUpBudgetBurns", "firing", LIMIT, window="1h")
    check_told(stack, opened, "tickets", capability="conversation")
    check_told(stack, burning, "pager", window="1h")
    order(stack, "auto")
    talk(stack, "helped", 4, breaks_in=False, leaves_at=10)
    stack.scene.arm([])
    stack.heard.wait_for("BreakerOpen", "resolved", LIMIT, provider="elevenlabs", capability="conversation")
    talk(stack, "back", 6)
    stack.heard.wait_for("SetUpBudgetBurns", "resolved", LIMIT, window="1h")
    check_rules(stack)
    check_panels(stack)


# --- People


def talk(stack: Stack, name: str, count: int, *, breaks_in: bool = True, leaves_at: int | None = None) -> None:
    """So many conversations, each with a question or, where the user breaks in, two."""

    async def everybody() -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with places:
                caller = Caller(stack.scene.url(), f"{name}-{number}")
                lines = [Line(QUESTIONS[number % len(QUESTIONS)])]
                if breaks_in:
                    lines.append(Line(QUESTIONS[(number + 1) % len(QUESTIONS)], breaks_in=10))
                try:
                    await caller.talk(lines, leaves_at=leaves_at)
                except TalkError:
                    assert name == "struck"

        await asyncio.gather(*(one(number) for number in range(count)))

    asyncio.run(everybody())


def order(stack: Stack, mode: str) -> None:
    """Give an admin's order as the runbooks say it is done."""
    page = alerting.RUNBOOKS.read_text()
    found = re.search(r"^python - conversation .*<<'PYTHON'\n(.+?)^PYTHON$", page, re.MULTILINE | re.DOTALL)
    assert found
    done = subprocess.run(
        [sys.executable, "-", "conversation", mode, "a drill", "ana"],
        input=found[1],
        cwd=ROOT,
        env=clean_environment(**stack.service.environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wait_until(
        lambda: f'vocero_override_mode{{capability="conversation",mode="{mode}"}} 2.0' in stack.metrics(), LIMIT, mode
    )


# --- What must be


def check_told(stack: Stack, told: monitoring.Told, receiver: str, **labels: str) -> None:
    """It went to the right one, in words for people, within two rounds after the one in which it began to fire."""
    assert told.receiver == receiver
    assert told.annotations["runbook_url"].startswith("docs/runbooks.md#")
    assert "<no value>" not in " ".join(told.annotations.values())
    assert not {"runbooks", "grafana"} & set(told.labels)
    rounds = [at for at in stack.prometheus.firing_times(told.name, **labels) if at <= told.at]
    assert 1 <= len(rounds) <= MOST_ROUNDS + 1, (told, rounds)


def known(stack: Stack) -> promql.Exported:
    exported = promql.Exported.of_text(stack.metrics())
    for record in alerting.records():
        exported.add_record(record.name, record.expression)
    for alert in alerting.alerts():
        exported.add("ALERTS", {"alertname": alert.name, "alertstate": "firing", **alert.labels})
    return exported


def problems(exported: promql.Exported, expressions: Iterable[str]) -> list[str]:
    return sorted({problem for expression in expressions for problem in exported.problems(expression)})


def check_rules(stack: Stack) -> None:
    """Every rule and runbook asks for what there is, and Prometheus has worked all rules out without a complaint."""
    exported = known(stack)
    assert not problems(exported, (rule.expression for rule in (*alerting.records(), *alerting.alerts())))
    assert not problems(exported, alerting.runbook_queries())
    groups = stack.prometheus.ask("rules")["groups"]
    assert not [
        (rule["name"], rule["lastError"]) for group in groups for rule in group["rules"] if rule.get("lastError")
    ]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}


def check_panels(stack: Stack) -> None:
    """Every query of every panel asks for what there is; and every panel has shown something since the begin."""
    exported = known(stack)
    asked = queries.every_query()
    assert not problems(exported, (each.filled(**VARIABLES) for each in asked))
    shown: dict[str, bool] = {}
    for each in asked:
        if not each.is_annotation:
            name = f"{each.dashboard}: {each.panel}"
            expression = alerting.on_faster_clock(each.filled(**VARIABLES), FACTOR)
            shown[name] = shown.get(name, False) or bool(stack.prometheus.since(expression, stack.began))
    empty = sorted(name for name, is_shown in shown.items() if not is_shown)
    assert empty == sorted(WITHOUT_DATA)
