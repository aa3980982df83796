"""`python -m benchmarks.scrape`: what a scrape costs with 2,000 series from each of four workers that count meanwhile.

The key decision: the ops listener runs as in production, as a process of its own that is asked over HTTP, while four
others count as often as 300 conversations make them. Strict about time where the tests are not: run it on a quiet
machine. The library's own way is measured beside it, in this process.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from service import metrics_files

WORKERS = 4
SERIES = 2_000
SCRAPES = 300
COUNTS_PER_SECOND = 300 / WORKERS * 10
"""Of a worker: ten counts a second for a conversation are far more than there are."""

MOST_SECONDS = 0.05
READY_SECONDS = 30.0


def main(arguments: list[str]) -> int:
    """Print the numbers; 1 if the bound was missed."""
    if arguments:
        return count_on(int(arguments[0]))
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name, ExitStack() as stack:
        folder = Path(name)
        for place in range(WORKERS):
            stack.enter_context(running("benchmarks.scrape", str(place), PROMETHEUS_MULTIPROC_DIR=name))
        url = stack.enter_context(ops_listener(folder))
        wait_for_series(url)
        text = scrape(url)
        series = sum(not line.startswith(b"#") for line in text.splitlines())
        print(f"{WORKERS} workers, {series:,} series, {len(text):,} bytes")
        took = measure(lambda: scrape(url), SCRAPES)
        show("ops listener, over HTTP", took)
        show("prometheus_client's collector", measure(lambda: the_librarys(folder), SCRAPES // 5))
    return 0 if took[int(0.99 * len(took))] <= MOST_SECONDS else 1


def count_on(place: int) -> int:
    """Be the worker at `place`, until somebody ends it."""
    metrics_files.take_place(place)
    from service import metrics  # noqa: F401 (it decides where all of them lie, and needs the place)

    registry = CollectorRegistry()
    metrics_of_all_kinds = list(make_series(registry))
    while True:
        for each in metrics_of_all_kinds:
            each()
            time.sleep(1 / COUNTS_PER_SECOND)


def make_series(registry: CollectorRegistry) -> Iterator[Callable[[], None]]:
    """So many series as the bound allows, in the shares that ours have; what counts one of them."""
    made = 0
    number = 0
    while made < SERIES:
        number += 1
        name = f"vocero_benchmark_{number}"
        help_ = "A sentence that says what is counted, of the length that ours have."
        seconds = Histogram(f"{name}_seconds", help_, ["provider"], registry=registry)
        happened = Counter(name, help_, ["provider", "cause"], registry=registry)
        state = Gauge(f"{name}_state", help_, ["state"], registry=registry, multiprocess_mode="livesum")
        for kind in ("elevenlabs", "elevenlabs_2", "local"):
            yield lambda seconds=seconds, kind=kind: seconds.labels(kind).observe(0.1)  # type: ignore[misc]
            yield lambda state=state, kind=kind: state.labels(kind).set(1)  # type: ignore[misc]
            seconds.labels(kind)
            for cause in range(10):
                happened.labels(kind, f"cause {cause}").inc()
        made += 3 * (17 + 10 + 1)


@contextmanager
def running(module: str, *arguments: str, descriptor: int | None = None, **environment: str) -> Iterator[None]:
    """A Python process, which is ended with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **environment},
        pass_fds=[] if descriptor is None else [descriptor],
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def ops_listener(folder: Path) -> Iterator[str]:
    """The URL of one that reads `folder`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number, port = listening.fileno(), listening.getsockname()[1]
        with running("service.ops_listener", str(number), str(os.getpid()), str(folder), descriptor=number):
            yield f"http://127.0.0.1:{port}/metrics"


def scrape(url: str) -> bytes:
    """The answer."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def wait_for_series(url: str) -> None:
    """Until all workers have made theirs."""
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        before = scrape(url)
        time.sleep(0.5)
        after = scrape(url)
        if len(before.splitlines()) == len(after.splitlines()) > SERIES and before != after:
            return
    raise TimeoutError("The workers do not count.")


def the_librarys(folder: Path) -> bytes:
    """What prometheus_client makes of the same files."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def measure(call: Callable[[], object], times: int) -> list[float]:
    """Seconds that each call took, the shortest first."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
        time.sleep(0.01)
    return sorted(found)


def show(name: str, took: list[float]) -> None:
    """Print what matters of it."""
    median, late = took[len(took) // 2], took[int(0.99 * len(took))]
    print(f"{name:32} median {1000 * median:6.1f} ms, p99 {1000 * late:6.1f} ms")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
