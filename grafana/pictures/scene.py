"""A stack with people in it and a Prometheus that watches, for the pictures: calm, an outage, and what comes after.

The key decision: everything is real but ElevenLabs (the sandbox) and the clock of the breaker, which is shortened so
that an outage and the return from it fit into some minutes.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis
import requests
import yaml

from service.fallback.overrides import OverrideBoard
from service.storage import Capability, OverrideMode, open_database
from soak.parts import running, running_service
from tests.campaign import campaign
from tests.campaign.caller import Caller, TalkError, draw_lines
from tests.campaign.campaign import FAQ_FILE, Scene
from tests.campaign.resuming import ResumingCaller
from tests.parts import require_program
from tests.servers import ROOT, RunningService, free_port, start_sandbox
from tests.system.cuttable_proxy import CuttableProxy

SCRAPE_SECONDS = 1
RULES = ROOT / "deploy" / "prometheus"
_VOICE = "JBFqnCBsd6RMkjVDRZzb"
_OUTAGE = (
    {"route": "agents.*", "probability": 1.0, "code": "service_unavailable"},
    {"route": "tts.*", "probability": 1.0, "code": "service_unavailable"},
)
_SETTINGS = {
    "ELEVENLABS_API_KEY": "pictures",
    "ELEVENLABS_AGENT_ID": "agent_demo",
    "VOCERO_SANDBOX": "true",
    "VOCERO_PUBLIC_AGENTS": "agent_demo",
    "VOCERO_WORKERS": "2",
    "VOCERO_FALLBACK_CHAIN": "elevenlabs,local",
    "VOCERO_FALLBACK_FAQ": str(FAQ_FILE),
    "VOCERO_FALLBACK_EARS": "false",  # everybody types here
    "VOCERO_QUALITY_SAMPLE_SHARE": "0.5",  # in a few minutes, one of twenty is nothing
    "VOCERO_BREAKER_OPEN_SECONDS": "8",
    "VOCERO_BREAKER_PROBE_SECONDS": "2",
    "VOCERO_BREAKER_DWELL_SECONDS": "10",
    "VOCERO_BREAKER_FLAP_SECONDS": "10",
    "VOCERO_BREAKER_RAMP_SECONDS": "20",
    "VOCERO_TICKETS_PER_MINUTE": "100000",
    "VOCERO_COST_FETCH": "true",  # the quota is read with it
}


@dataclass(frozen=True)
class Watched:
    """The address of Prometheus, and between which Unix times there is something to see."""

    prometheus: str
    begin: float
    end: float


@contextmanager
def watched(seconds: float, people: int) -> Iterator[Watched]:
    """Let so many people talk for so long, with an outage in the middle third; Prometheus stays until the end."""
    with tempfile.TemporaryDirectory(prefix="vocero-pictures-") as name, ExitStack() as stack:
        folder = Path(name)
        sandbox = start_sandbox(folder, "--no-ears", "--plan", "business", "--agent-slots", str(3 * people))
        stack.callback(sandbox.child.stop)
        line = stack.enter_context(CuttableProxy(sandbox.port))
        settings = {
            **_SETTINGS,
            "ELEVENLABS_BASE_URL": line.url,
            "VOCERO_OPS_PORT": str(free_port()),
            "VOCERO_AGENTS_CONCURRENCY": str(2 * people),
        }
        service = stack.enter_context(running_service(folder, settings))
        prometheus = stack.enter_context(_prometheus(folder, service))
        begin = time.time()
        asyncio.run(_talk(Scene(service.url, sandbox.url), service, line, seconds, people))
        yield Watched(prometheus, begin, time.time())


@contextmanager
def _prometheus(folder: Path, service: RunningService) -> Iterator[str]:
    program = require_program("prometheus", remedy="apt-get install prometheus")
    port = free_port()
    config = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
        "rule_files": [str(path) for path in sorted(RULES.glob("*.rules.yml"))],
        "scrape_configs": [
            {
                "job_name": "vocero",
                "static_configs": [{"targets": [service.ops_url.removeprefix("http://")]}],
            }
        ],
    }
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    command = [
        str(program),
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with running("Prometheus", command, folder, ("127.0.0.1", port)):
        yield f"http://127.0.0.1:{port}"


async def _talk(scene: Scene, service: RunningService, line: CuttableProxy, seconds: float, people: int) -> None:
    end = time.time() + seconds
    talking = [asyncio.create_task(_person(scene, number, end)) for number in range(people)]
    talking.append(asyncio.create_task(_speech(service, end)))
    await asyncio.sleep(seconds / 3)
    await asyncio.to_thread(scene.arm, _OUTAGE)
    line.cut()
    await asyncio.sleep(seconds / 4)
    await asyncio.to_thread(scene.arm, ())
    await asyncio.sleep(seconds / 6)
    await asyncio.to_thread(_order, service, seconds / 8)
    await asyncio.gather(*talking)


async def _person(scene: Scene, number: int, end: float) -> None:
    """One who talks, hangs up and calls again; now and then the network is lost, or they leave in the middle."""
    dice = random.Random(number)  # noqa: S311 (no secret: the same people each time)
    answers = campaign.answers()
    call = 0
    await asyncio.sleep(dice.uniform(0, 10))
    while time.time() < end:
        call += 1
        user = f"person-{number}-{call}"
        caller = ResumingCaller(scene.url, user, dice=dice) if dice.random() < 0.7 else Caller(scene.url(), user)
        caller.pauses = lambda: dice.uniform(3, 7)  # they hear the answer to its end
        lines = draw_lines(dice, answers, 4, barges=0.3)
        dropping = asyncio.create_task(_lose_network(caller, dice))
        with suppress(TalkError):
            await caller.talk(lines, leaves_at=20 if dice.random() < 0.2 else None)
        dropping.cancel()
        await asyncio.sleep(dice.uniform(0, 4))


async def _lose_network(caller: Caller, dice: random.Random) -> None:
    if isinstance(caller, ResumingCaller) and dice.random() < 0.3:
        await asyncio.sleep(dice.uniform(3, 12))
        caller.drop()


async def _speech(service: RunningService, end: float) -> None:
    """A system that has sentences spoken, one after the other."""
    sentences = list(campaign.answers().values())
    while time.time() < end:
        for text in sentences:
            await asyncio.to_thread(_speak, service, text)
            await asyncio.sleep(0.4)


def _speak(service: RunningService, text: str) -> None:
    url = f"{service.url}/v1/text-to-speech/{_VOICE}/stream?output_format=pcm_16000"
    with suppress(requests.RequestException):
        requests.post(url, json={"text": text}, headers={"xi-api-key": service.api_key}, timeout=30)


def _order(service: RunningService, seconds: float) -> None:
    """An admin has the backup speak for a while, to try it out."""
    database = open_database(service.environment["VOCERO_DATABASE_URL"])
    try:
        with redis.Redis.from_url(service.environment["VOCERO_REDIS_URL"]) as store:
            OverrideBoard(database, store).set(
                Capability.SPEECH,
                OverrideMode.FORCED_FALLBACK,
                reason="trying the backup",
                author="pictures",
                expected_version=0,
                seconds=seconds,
            )
    finally:
        database.close()
