"""A hundred people talk while nodes are replaced and reloaded twenty times, then while workers are killed at random.

What must hold: nobody's conversation ends, a drain closes with 1012 and nothing else, and the database has each
question and each answer once. The short run is in the tests.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from migrations import runner
from scripts.launcher import valkey
from service.storage import ApiKeys, Database, open_database
from soak.parts import running
from soak.progress import Progress
from soak.result import Result
from soak.service_log import failures_in
from tests.campaign.campaign import SANDBOX_OPTIONS, SERVICE_SETTINGS, percentile
from tests.campaign.crowd import Crowd, CrowdResult
from tests.campaign.nodes import Nodes
from tests.servers import RunningService, start_sandbox, start_service

RESTARTS = 20
CALLERS = 100
PAUSE_SECONDS = 6.0
"""Between a caller's turns, on average: a hundred who talk without taking a breath are a thousand."""

KILL_EVERY_SECONDS = 4.0
SERVICE_RESTART = 1012
SETTINGS = {
    **SERVICE_SETTINGS,
    "VOCERO_DRAIN_TURN_SECONDS": "10",
    "VOCERO_RECONNECT_SPREAD_SECONDS": "3",
    # Callers and sandbox are on the same two cores: what is late here is nobody's fault.
    "VOCERO_FIRST_AUDIO_SECONDS": "5",
}


def run(restarts: int = RESTARTS, *, seed: int = 1, only: str | None = None) -> Result:
    """Restart so often under the crowd, and kill as many workers under another one; or `only` "restarts" or "kills"."""
    begin = time.monotonic()
    rows: list[tuple[str, ...]] = [("what", "questions", "connections lost", "by code", "back after: median", "p95")]
    failures: list[str] = []
    for name, act in (("restarts", _restart), ("kills", _kill)):
        if only not in {None, name}:
            continue
        with _scene() as scene:
            result, problems = _hold(scene, name, restarts, seed, act)
        failures += [f"{name}: {problem}" for problem in problems]
        rows.append(_row(name, result))
        print(f"  {name}: {len(problems)} problems; {' | '.join(rows[-1][1:])}", flush=True)
        if name == "restarts" and {loss.code for loss in result.losses} - {SERVICE_RESTART}:
            failures.append(f"a drain closed with {Counter(loss.code for loss in result.losses)}")
    return Result("restarts", time.monotonic() - begin, rows, failures)


@dataclass(frozen=True)
class _Scene:
    database: Database
    start: Callable[[], RunningService]


def _hold(
    scene: _Scene, name: str, times: int, seed: int, act: Callable[[Nodes, int, random.Random], None]
) -> tuple[CrowdResult, list[str]]:
    dice = random.Random(seed)
    with ExitStack() as stack:
        nodes = stack.enter_context(Nodes(scene.start, count=2))
        crowd = stack.enter_context(Crowd(nodes.url, CALLERS, seed=seed, pause_seconds=PAUSE_SECONDS))
        done = 0
        progress = Progress(lambda _: f"{name}, {done} of {times}; {len(crowd.losses())} connections were lost")
        for number in range(times):
            act(nodes, number, dice)
            done += 1
            progress.tick()
        crowd.wait_until_all_went_on()
        result = crowd.finish()
        problems = list(result.problems)
        problems += crowd.problems_at_last(scene.database)
        problems += [failure for node in nodes.logs() for failure in failures_in(node.log_path)]
    return result, problems


def _restart(nodes: Nodes, number: int, _dice: random.Random) -> None:
    if number % 2:
        nodes.reload()
    elif nodes.replace() != 0:
        raise AssertionError("a node that was told to stop ended badly")


def _kill(nodes: Nodes, _number: int, dice: random.Random) -> None:
    nodes.kill_worker(dice)
    time.sleep(dice.uniform(0, 2 * KILL_EVERY_SECONDS))


def _row(name: str, result: CrowdResult) -> tuple[str, ...]:
    seconds = [loss.seconds for loss in result.losses]
    codes = Counter(loss.code for loss in result.losses)
    return (
        name,
        str(result.questions),
        str(len(result.losses)),
        ", ".join(f"{code}: {count}" for code, count in sorted(codes.items())),
        f"{statistics.median(seconds):.2f} s" if seconds else "-",
        f"{percentile(seconds, 0.95):.2f} s",
    )


@contextmanager
def _scene() -> Iterator[_Scene]:
    with tempfile.TemporaryDirectory(prefix="vocero-soak-") as name, ExitStack() as stack:
        folder = Path(name)
        socket = valkey.socket_path(folder)
        stack.enter_context(running("Valkey", valkey.server_command(folder, socket), folder, str(socket)))
        url = f"sqlite:///{folder}/vocero.db"
        runner.upgrade(url)
        database = open_database(url)
        stack.callback(database.close)
        key = ApiKeys(database).create("soak")[1]
        sandbox = start_sandbox(folder, *SANDBOX_OPTIONS)
        stack.callback(sandbox.child.stop)
        ours = {
            "ELEVENLABS_BASE_URL": sandbox.url,
            "ELEVENLABS_API_KEY": "soak",
            "ELEVENLABS_AGENT_ID": "agent_demo",
            "VOCERO_PUBLIC_AGENTS": "agent_demo",
            "VOCERO_REDIS_URL": valkey.redis_url(socket),
            "VOCERO_DATABASE_URL": url,
        }
        started: list[RunningService] = []

        def start() -> RunningService:
            own = folder / f"node-{len(started)}"
            own.mkdir()
            node = start_service(own, key, {**ours, **SETTINGS})
            started.append(node)
            stack.callback(node.stop)
            return node

        yield _Scene(database, start)
