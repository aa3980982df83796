"""Four processes that take leases of one account while they, Redis and their clocks are maltreated.

What must hold, by an oracle outside of Redis: never more leases than the cap, also with a process killed or stopped,
Redis killed and started again (its last second of writes is lost), or emptied; nobody overtaken by a later one of its
class; and the cap is reached again after all of it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import redis

from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from service.account_limiter import Priority
from soak.limiter_oracle import DIED, LOST, Holding, Oracle, overtaken, peak
from soak.progress import Progress
from soak.result import Result
from tests.servers import READY_SECONDS, ROOT, clean_environment

SECONDS = 600.0
PROCESSES = 4
THREADS = 6
CAP = 6
TTL_SECONDS = 2.0
LIMITER = {"name": "soak", "cap": CAP, "ttl_seconds": TTL_SECONDS, "workers": PROCESSES}
CLOCKS_OFF_SECONDS = (3600.0, -3600.0, 0.0, 0.0)
KILL, STOP, LONG_STOP, FLUSH, RESTART = "kill", "stop", "stop for longer than the TTL", "flush", "restart"
CALAMITIES = (KILL, KILL, STOP, STOP, STOP, LONG_STOP, LONG_STOP, FLUSH, RESTART)
PAUSE_SECONDS = (0.3, 1.5)
CALM_SECONDS = 1.5 * TTL_SECONDS
"""At the end nothing happens for so long: whatever was held by the dead must be back."""
CALM_SECONDS_LIMIT = 10 * TTL_SECONDS
"""A machine that does much else may need so long until every slot is seen in use at once."""


def run(seconds: float = SECONDS, *, seed: int = 1) -> Result:
    """Go on for so long; `seed` decides what happens when."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vocero-soak-") as name, ExitStack() as stack:
        storm = stack.enter_context(running_storm(Path(name), random.Random(seed)))
        progress = Progress(lambda _: f"{len(storm.oracle.holdings)} leases, {storm.happened.total()} calamities")
        while time.monotonic() < begin + seconds - CALM_SECONDS:
            storm.go_on()
            progress.tick()
        storm.calm_down()
        calm_from = time.monotonic()
        while (calm := time.monotonic() - calm_from) < CALM_SECONDS_LIMIT:
            if calm > CALM_SECONDS and peak(_late(storm.oracle.snapshot(), calm_from)) >= CAP:
                break
            time.sleep(0.1)
        holdings = storm.oracle.snapshot()
    return Result("limiter", time.monotonic() - begin, _rows(holdings, storm), _failures(holdings, storm, calm_from))


@dataclass
class Storm:
    """The processes, their Redis, and what happens to them."""

    folder: Path
    random: random.Random
    oracle: Oracle = field(default_factory=Oracle)
    happened: Counter[str] = field(default_factory=Counter)
    silences: defaultdict[int, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    holders: list[Child] = field(default_factory=list)
    stopped: dict[int, tuple[float, float]] = field(default_factory=dict)  # slot to (since, until)
    deck: list[str] = field(default_factory=list)
    server: Child | None = None

    def start(self) -> None:
        """Start Redis and the processes."""
        self.socket = valkey.socket_path(self.folder)
        self.start_server()
        self.holders = [self.start_holder(slot) for slot in range(PROCESSES)]

    def close(self) -> None:
        """End them all."""
        self.oracle.close()
        for child in [*self.holders, self.server]:
            if child is not None:
                child.kill()

    def go_on(self) -> None:
        """Let something happen, then wait a moment."""
        if not self.deck:
            self.deck = self.random.sample(CALAMITIES, len(CALAMITIES))
        calamity = self.deck.pop()
        free = [slot for slot in range(PROCESSES) if slot not in self.stopped]
        if calamity == FLUSH:
            self.happen(calamity, self.client().flushall)
        elif calamity == RESTART:
            self.happen(calamity, self.restart_server)
        elif len(free) > 1:  # one of them always runs
            slot = self.random.choice(free)
            self.happen(calamity, lambda: self.strike(calamity, slot))
        end = time.monotonic() + self.random.uniform(*PAUSE_SECONDS)
        while time.monotonic() < end:
            self.wake_the_due()
            time.sleep(0.02)

    def happen(self, calamity: str, act: Callable[[], object]) -> None:
        """Do it and count it."""
        act()
        self.happened[calamity] += 1

    def strike(self, calamity: str, slot: int) -> None:
        """Kill a process and start another one, or stop it for a while."""
        if calamity == KILL:
            self.holders[slot].kill()
            self.holders[slot] = self.start_holder(slot)
            return
        longest = (1.1, 1.6) if calamity == LONG_STOP else (0.05, 0.8)
        now = time.monotonic()
        os.kill(self.holders[slot].pid, signal.SIGSTOP)
        self.stopped[slot] = now, now + TTL_SECONDS * self.random.uniform(*longest)

    def wake_the_due(self, *, all_of_them: bool = False) -> None:
        """Let those go on that were stopped for long enough."""
        now = time.monotonic()
        for slot, (since, until) in list(self.stopped.items()):
            if all_of_them or now >= until:
                os.kill(self.holders[slot].pid, signal.SIGCONT)
                self.silences[self.holders[slot].pid].append((since, time.monotonic()))
                del self.stopped[slot]

    def calm_down(self) -> None:
        """Let everybody run."""
        self.wake_the_due(all_of_them=True)

    # --- The parts

    @property
    def url(self) -> str:
        """Of Redis."""
        return valkey.redis_url(self.socket)

    def client(self) -> redis.Redis:
        """To Redis."""
        return redis.Redis.from_url(self.url)

    def start_server(self) -> None:
        """Start Redis with the data that it left."""
        self.server = Child(
            "Valkey",
            valkey.server_command(self.folder, self.socket),
            environment=clean_environment(),
            log_path=self.folder / "valkey.log",
            folder=self.folder,
        )
        self.server.start()
        self.server.wait_until_ready(lambda: probes.accepts(str(self.socket)), READY_SECONDS)

    def restart_server(self) -> None:
        """Kill Redis; what it wrote in the last second may be lost."""
        if self.server is not None:
            self.server.kill()
        self.start_server()

    def start_holder(self, slot: int) -> Child:
        """Start a process that takes leases."""
        plan = {
            "redis_url": self.url,
            "oracle_port": self.oracle.port,
            "clock_off_seconds": CLOCKS_OFF_SECONDS[slot],
            "threads": THREADS,
            "limiter": LIMITER,
        }
        holder = Child(
            f"holder {slot}",
            [sys.executable, "-m", "soak.limiter_holder", orjson.dumps(plan).decode()],
            environment=clean_environment(),
            log_path=self.folder / f"holder-{slot}.log",
            folder=ROOT,
        )
        holder.start()
        return holder


@contextmanager
def running_storm(folder: Path, randomness: random.Random) -> Iterator[Storm]:
    """A storm that ends with the block."""
    storm = Storm(folder, randomness)
    try:
        storm.start()
        yield storm
    finally:
        storm.close()


def _late(holdings: list[Holding], calm_from: float) -> list[Holding]:
    """Those that were held when the dead's time had run out."""
    return [holding for holding in holdings if holding.counted_until > calm_from + TTL_SECONDS]


def _slept_through(holdings: list[Holding], silences: Mapping[int, Sequence[tuple[float, float]]]) -> list[Holding]:
    """Those that ran out while their holder was stopped, which has gone on since."""
    return [
        holding
        for holding in holdings
        for since, until in silences.get(holding.pid, ())
        if holding.granted_at < since and holding.valid_until < until <= holding.ended_at and holding.how != DIED
    ]


def _failures(holdings: list[Holding], storm: Storm, calm_from: float) -> list[str]:
    failures = []
    by_redis = [holding for holding in holdings if not holding.is_static]
    if (most := peak(by_redis)) > CAP:
        failures.append(f"{most} leases at one moment, the cap is {CAP}")
    bound = CAP + PROCESSES * max(1, CAP // PROCESSES)
    if (most := peak(holdings)) > bound:
        failures.append(f"{most} leases at one moment with those of static shares, the bound is {bound}")
    if (most := peak(_late(holdings, calm_from))) < CAP:
        failures.append(f"only {most} of {CAP} slots were in use {CALM_SECONDS_LIMIT:g} s after the last calamity")
    if later := overtaken(holdings, storm.silences):
        failures.append(f"{len(later)} were overtaken by a later one of their class")
    if len({holding.fence for holding in by_redis}) != len(by_redis):
        failures.append("a fence was given twice")
    if _slept_through(holdings, storm.silences) and not any(each.how == LOST for each in holdings):
        failures.append("nobody who was stopped for longer than the TTL has noticed that its lease was lost")
    return failures


def _rows(holdings: list[Holding], storm: Storm) -> list[tuple[str, str]]:
    waits: defaultdict[int, list[float]] = defaultdict(list)
    for holding in holdings:
        waits[holding.priority].append(holding.granted_at - holding.asked_at)
    rows = [("what", "how many or how long")]
    rows += [(f"calamity: {name}", str(storm.happened[name])) for name in dict.fromkeys(CALAMITIES)]
    rows += [
        ("leases", f"{len(holdings):,}"),
        ("of static shares", str(sum(holding.is_static for holding in holdings))),
        ("cut short by the death of their process", str(sum(holding.how == DIED for holding in holdings))),
        ("lost, and noticed by their holder", str(sum(holding.how == LOST for holding in holdings))),
        ("gave up waiting", str(storm.oracle.timeouts)),
        ("cap", str(CAP)),
        ("most at one moment, granted by Redis", str(peak(each for each in holdings if not each.is_static))),
        ("most at one moment, all", str(peak(holdings))),
    ]
    for priority, found in sorted(waits.items()):
        found.sort()
        middle, late = found[len(found) // 2], found[len(found) * 99 // 100]
        rows.append((f"wait, {Priority(priority).name.lower()}, median and p99", f"{middle:.2f} s, {late:.2f} s"))
    return rows
