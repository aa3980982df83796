"""`python -m benchmarks.dashboard_beside_audio`: what the dashboard costs the conversations on the same machine.

The key decision: rounds in turn. In each, the same conversations talk at real-time rate, with nobody at the dashboard,
with ten open pages that freshen themselves, and under a flood of sign-ins from ever new addresses, which keeps both of
its hashing threads busy. What a round has is compared with what the quiet one beside it has. Whoever disturbs is a
process of its own; the dashboard shares the machine's cores with the service, the fake upstream and the load.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.contests.field import Field, added, messages, say, wrong
from benchmarks.dashboard import be_open_pages, start_dashboard
from benchmarks.generator.conversation_load import Outcome
from benchmarks.numbers import readable
from benchmarks.parts import SERVICE, running_parts
from benchmarks.processes import Usage, cpu_seconds
from migrations import runner
from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from service.storage import ApiKeys, open_database
from tests.servers import READY_SECONDS, ROOT, clean_environment

ROUNDS, SECONDS = 8, 5.0
CONVERSATIONS, DIRECT_CONVERSATIONS = 300, 50
FLOODERS = 20
_NICENESS = 19  # who opens pages or floods has a machine of his own; here he must not take our cores
DISTURBANCE_SECONDS = 60.0
"""Longer than any round; it is ended with its round."""

QUIET = "nobody at the dashboard"
PAGES, FLOOD = "ten open pages", "a flood of sign-ins"
MOST_ADDED_MILLISECONDS = 0.5
"""By which p99 may be higher than in the quiet rounds: half of what an audio frame waits in a busy worker."""

MOST_CPU = 1.05
"""Times the CPU of a message in the quiet rounds."""


def main(arguments: list[str]) -> int:
    """Print the numbers; 1 if a bound was missed."""
    if arguments:
        return disturb(*arguments)
    with tempfile.TemporaryDirectory(prefix="vocero-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        redis_url, database_url = _stores(stack, folder)
        settings = {"VOCERO_REDIS_URL": redis_url, "VOCERO_DATABASE_URL": database_url}
        parts = stack.enter_context(running_parts([SERVICE], services={SERVICE: settings}))
        port, pid, cookie = start_dashboard(
            stack, folder, redis_url, database_url, VOCERO_DASHBOARD_TRUSTED_PROXIES="1"
        )
        field = stack.enter_context(Field(parts))
        field.warm_up(parts.relays[0])
        found: dict[str, list[tuple[float, float, float]]] = {QUIET: [], PAGES: [], FLOOD: []}
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            for what, rounds in found.items():
                with _disturbing(what, port, cookie):
                    rounds.append(_round(field, pid))
        return _tell(found)


def _round(field: Field, dashboard_pid: int) -> tuple[float, float, float]:
    """Milliseconds that a message waits at p99, microseconds of CPU that it costs, the dashboard's share of a core."""
    relay = field.parts.relays[0]
    straight = field.conversations(field.parts.direct, DIRECT_CONVERSATIONS)
    through = field.conversations(relay, CONVERSATIONS)
    before, began = cpu_seconds([dashboard_pid]), time.monotonic()
    outcomes: list[list[Outcome]]
    usage: Usage
    outcomes, usage = field.lead(relay, "voice", [("voice", straight), ("voice", through)], SECONDS)
    share = (cpu_seconds([dashboard_pid]) - before) / (time.monotonic() - began)
    if wrong(outcomes[1]):
        raise SystemExit("Messages were lost.")
    return added(outcomes[1], outcomes[0], 0.99), usage.worker * 1e6 / messages(outcomes[1]), share


def _tell(found: dict[str, list[tuple[float, float, float]]]) -> int:
    medians = {
        what: [statistics.median(column) for column in zip(*rounds, strict=True)] for what, rounds in found.items()
    }
    print(f"{CONVERSATIONS} conversations at real-time rate, medians of {ROUNDS} rounds of {SECONDS:g} s")
    missed = False
    for what, (delay, cpu, share) in medians.items():
        more = statistics.median(mine[0] - quiet[0] for mine, quiet in zip(found[what], found[QUIET], strict=True))
        times = statistics.median(mine[1] / quiet[1] for mine, quiet in zip(found[what], found[QUIET], strict=True))
        missed = missed or more > MOST_ADDED_MILLISECONDS or times > MOST_CPU
        print(
            f"{what:24} added delay p99 {readable(delay)} ms ({more:+.3f}), CPU a message {cpu:.2f} µs"
            f" ({times:.3f} times), dashboard {share:.0%} of a core"
        )
    return 1 if missed else 0


@contextmanager
def _disturbing(what: str, port: int, cookie: str) -> Iterator[None]:
    if what == QUIET:
        yield
        return
    command = [sys.executable, "-m", "benchmarks.dashboard_beside_audio", what, str(port), cookie]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None or not process.stdout.readline():
            raise SystemExit(f"{what}: it did not begin")
        yield
        if process.poll() is not None:
            raise SystemExit(f"{what}: it has ended before its round")
    finally:
        process.kill()
        process.wait()


def disturb(what: str, port: str, cookie: str) -> int:
    """Be whoever disturbs, until somebody ends us."""
    os.nice(_NICENESS)
    print("begins", flush=True)
    if what == PAGES:
        be_open_pages(int(port), cookie, DISTURBANCE_SECONDS)
    else:
        flooders = [threading.Thread(target=_flood, args=(int(port), each), daemon=True) for each in range(FLOODERS)]
        for each in flooders:
            each.start()
        for each in flooders:
            each.join()
    return 0


def _flood(port: int, number: int) -> None:
    """Sign in with a wrong password, each time as somebody else from somewhere else: no throttle strikes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    ends_at, tries = time.monotonic() + DISTURBANCE_SECONDS, 0
    while time.monotonic() < ends_at:
        tries += 1
        connection.request(
            "POST",
            "/login",
            json.dumps({"name": f"user-{number}-{tries}", "password": "not the right one"}),
            {
                "Content-Type": "application/json", "X-Requested-By": "dashboard",
                "Origin": f"http://127.0.0.1:{port}", "X-Forwarded-For": f"10.{number}.{tries // 250}.{tries % 250}",
            },
        )  # fmt: skip
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (401, 503):
            raise SystemExit(f"a sign-in was answered with {answer.status}")


def _stores(stack: ExitStack, folder: Path) -> tuple[str, str]:
    """The URLs of a Valkey and a migrated database that service and dashboard share."""
    socket = valkey.socket_path(folder)
    child = Child(
        "Valkey",
        valkey.server_command(folder, socket),
        environment=clean_environment(),
        log_path=folder / "valkey.log",
        folder=folder,
    )
    child.start()
    stack.callback(child.stop)
    child.wait_until_ready(lambda: probes.accepts(str(socket)), READY_SECONDS)
    database_url = f"sqlite:///{folder / 'vocero.db'}"
    runner.upgrade(database_url)
    database = open_database(database_url)
    ApiKeys(database).create("bench")
    database.close()
    return valkey.redis_url(socket), database_url


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
