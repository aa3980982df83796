"""`python -m benchmarks.dashboard`: what the dashboard's pages take with 50 workers and 300 live conversations.

The key decision: the dashboard runs as in production, under gunicorn, and is asked over HTTP by somebody signed in,
while all workers report once a second. Its CPU is read from /proc, so what the measurement itself burns is not in it.
Strict about time where the tests are not: run it on a quiet machine.
"""

from __future__ import annotations

import dataclasses
import http.client
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import orjson
import redis

from benchmarks.processes import cpu_seconds
from dashboard.access.cookies import Cookies
from dashboard.access.sessions import Sessions
from migrations import runner
from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from service import redis_keys
from service.pool_reports import INDEX_KEY
from service.storage import AdminRole, AdminUsers, open_database
from tests.dashboard.dashboards import PASSWORD_HASH
from tests.dashboard.workers import worker
from tests.servers import READY_SECONDS, ROOT, children_of, clean_environment, free_port

WORKERS, CONVERSATIONS = 50, 6
ASKED = 200
FOLLOWERS, FOLLOW_SECONDS = 10, 10.0
PAGES = (
    ("overview, whole", "/", False),
    ("overview, what freshens it", "/", True),
    ("overview, as JSON", "/api/overview", False),
    ("pool, whole", "/pool", False),
)
MOST_SECONDS = 0.1


def main() -> int:
    """Print the numbers; 1 if the overview took more than the bound at its 95th percentile."""
    with tempfile.TemporaryDirectory(prefix="vocero-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        socket = valkey.socket_path(folder)
        _start(stack, "Valkey", valkey.server_command(folder, socket), folder, lambda: probes.accepts(str(socket)))
        store = redis.Redis.from_url(valkey.redis_url(socket))
        stack.enter_context(reporting(store))
        database_url = f"sqlite:///{folder / 'vocero.db'}"
        runner.upgrade(database_url)
        port, pid, cookie = start_dashboard(stack, folder, valkey.redis_url(socket), database_url)
        print(f"{WORKERS} workers, {WORKERS * CONVERSATIONS} conversations; milliseconds of {ASKED} requests each")
        slowest = 0.0
        for title, path, is_fragment in PAGES:
            took, burnt, size = measure(port, pid, path, cookie, is_fragment=is_fragment)
            p95 = took[int(0.95 * len(took))]
            slowest = max(slowest, p95)
            print(
                f"{title:28} p50 {took[len(took) // 2] * 1000:6.1f}  p95 {p95 * 1000:6.1f}  CPU {burnt * 1000:6.1f}"
                f"  {size / 1000:7.1f} kB"
            )
        share = follow(port, pid, cookie)
        print(f"{FOLLOWERS} open pages that freshen themselves: {share:.1%} of a core")
    return 0 if slowest <= MOST_SECONDS else 1


@contextmanager
def reporting(store: redis.Redis) -> Iterator[None]:
    """All workers, of which each reports once a second."""
    leaves = threading.Event()
    values = {}
    for number in range(1, WORKERS + 1):
        report = worker(number, conversations=CONVERSATIONS)
        member = f"{report.node}/{report.worker}".encode()
        values[member] = orjson.dumps(dataclasses.asdict(report))

    def report_on() -> None:
        while True:
            with store.pipeline(transaction=False) as pipeline:
                for member, value in values.items():
                    pipeline.set(redis_keys.POOL_REPORT.prefix.encode() + member, value, px=5000)
                pipeline.zadd(INDEX_KEY, dict.fromkeys(values, time.time()))
                pipeline.execute()
            if leaves.wait(1.0):
                return

    thread = threading.Thread(target=report_on, name="workers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        leaves.set()
        thread.join()


def measure(port: int, pid: int, path: str, cookie: str, *, is_fragment: bool) -> tuple[list[float], float, int]:
    """The seconds of each request in their order, CPU seconds of the dashboard for one, and the bytes of the last."""
    headers = {"Cookie": cookie, **({"X-Fragment": "live"} if is_fragment else {})}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    took: list[float] = []
    size = 0
    before = 0.0
    for asked in range(ASKED + 10):
        if asked == 10:  # what is compiled at the first time is compiled by now
            took.clear()
            before = cpu_seconds([pid])
        began = time.perf_counter()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        size = len(answer.read())
        took.append(time.perf_counter() - began)
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}")
    burnt = (cpu_seconds([pid]) - before) / ASKED
    connection.close()
    return sorted(took), burnt, size


def follow(port: int, pid: int, cookie: str) -> float:
    """The share of a core that the dashboard burns while pages stand open and freshen themselves."""
    before, began = cpu_seconds([pid]), time.monotonic()
    be_open_pages(port, cookie, FOLLOW_SECONDS)
    return (cpu_seconds([pid]) - before) / (time.monotonic() - began)


def be_open_pages(port: int, cookie: str, seconds: float) -> None:
    """Be several pages that somebody looks at, for so long."""
    ends_at = time.monotonic() + seconds

    def be_page() -> None:
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        stream.request("GET", "/api/live", headers={"Cookie": cookie})
        events = stream.getresponse()
        asking = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while time.monotonic() < ends_at:
            if events.readline().startswith(b"event: seen"):
                asking.request("GET", "/", headers={"Cookie": cookie, "X-Fragment": "live"})
                asking.getresponse().read()
        stream.close()
        asking.close()

    pages = [threading.Thread(target=be_page, daemon=True) for _ in range(FOLLOWERS)]
    for page in pages:
        page.start()
    for page in pages:
        page.join()


def start_dashboard(
    stack: ExitStack, folder: Path, redis_url: str, database_url: str, **more: str
) -> tuple[int, int, str]:
    """Its port, its worker's process id, and the cookie of somebody who is signed in; `more` are settings."""
    database = open_database(database_url)
    user = AdminUsers(database).create("bench", AdminRole.VIEWER, password_hash=PASSWORD_HASH)
    database.close()
    port = free_port()
    child = Child(
        "dashboard",
        [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "dashboard" / "gunicorn_conf.py"), "dashboard.wsgi:app"],
        environment=clean_environment() | {
            "VOCERO_DASHBOARD_PORT": str(port), "VOCERO_REDIS_URL": redis_url, "VOCERO_DATABASE_URL": database_url,
            "ELEVENLABS_API_KEY": "bench", "VOCERO_LOG_LEVEL": "warning", **more,
        },
        log_path=folder / "dashboard.log",
        folder=ROOT,
    )  # fmt: skip
    _run(stack, child, lambda: probes.answers(f"http://127.0.0.1:{port}/livez"))
    (pid,) = children_of(child.pid)
    store = redis.Redis.from_url(redis_url)
    secret, _ = Sessions(store, idle_seconds=3600.0, whole_seconds=3600.0).begin(user, address="", agent="")
    return port, pid, f"{Cookies(is_https=False).session_name}={secret}"


def _start(stack: ExitStack, name: str, command: list[str], folder: Path, is_ready: Callable[[], bool]) -> None:
    child = Child(
        name, command, environment=clean_environment(), log_path=folder / f"{name}.log", folder=folder
    )  # fmt: skip
    _run(stack, child, is_ready)


def _run(stack: ExitStack, child: Child, is_ready: Callable[[], bool]) -> None:
    child.start()
    stack.callback(child.stop)
    child.wait_until_ready(is_ready, READY_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
