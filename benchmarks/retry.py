"""`python -m benchmarks.retry`: what `with_retry` costs a call, adds to an outage, and overruns a deadline.

The key decision: strict about time where the tests are not, because here nobody minds a machine that was busy; run it
on a quiet one. CPU is this process's own; the upstreams are threads with real sockets.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator

import structlog
import tenacity

from service.elevenlabs.elevenlabs_service import ElevenLabsService
from service.elevenlabs.keys import KeyChoice
from service.errors import UpstreamError
from service.retry import Retrier, RetryPolicy, with_retry
from service.retry_budget import RetryBudget
from service.secret import Secret

ROUNDS = 7
CALLS = 20_000
OUTAGE_CALLS = 1_000
DEADLINE_SECONDS = 2.0
HANGS = 5
LONGEST_OVERRUN_SECONDS = 0.2
MOST_REQUESTS = 1.2 * OUTAGE_CALLS + 3


def main() -> int:
    """Print the numbers; 1 if a bound was missed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    for name, microseconds in cpu_of_a_call().items():
        print(f"{name:28} {microseconds:6.2f} µs CPU a call")
    requests = requests_of_an_outage()
    print(f"outage: {OUTAGE_CALLS} calls made {requests} requests (at most {MOST_REQUESTS:.0f})")
    took = [time_of_a_hang() for _ in range(HANGS)]
    print(f"hang: a deadline of {DEADLINE_SECONDS} s ended after {min(took):.3f} to {max(took):.3f} s")
    in_time = min(took) >= DEADLINE_SECONDS and max(took) <= DEADLINE_SECONDS + LONGEST_OVERRUN_SECONDS
    return 0 if in_time and requests <= MOST_REQUESTS else 1


def cpu_of_a_call() -> dict[str, float]:
    """Median of interleaved rounds, in microseconds."""

    def nothing() -> None:
        pass

    retrier = Retrier(RetryPolicy(), budget=RetryBudget())
    once = with_retry(retrier)(nothing)
    alone = tenacity.Retrying(reraise=True, stop=tenacity.stop_after_attempt(3))
    contestants: dict[str, Callable[[], None]] = {
        "bare": nothing,
        "with_retry": once,
        "with_retry in with_retry": with_retry(retrier)(once),
        "tenacity alone, as it is": lambda: alone.copy()(nothing),
    }
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, call in contestants.items():
            began = time.process_time()
            for _ in range(CALLS):
                call()
            found[name].append((time.process_time() - began) / CALLS * 1e6)
    return {name: statistics.median(values) for name, values in found.items()}


def requests_of_an_outage() -> int:
    """Requests that an upstream got which answered each of them with 503."""
    asked: list[None] = []

    def refuse(sock: socket.socket) -> None:
        while sock.recv(65_536):
            asked.append(None)
            sock.sendall(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")

    with upstream(refuse) as url:
        retrier = Retrier(RetryPolicy(), budget=RetryBudget(), sleep=lambda _: None)
        with ElevenLabsService(url, keys=KeyChoice(lambda: [Secret("key")]), retrier=retrier) as service:
            for _ in range(OUTAGE_CALLS):
                with contextlib.suppress(UpstreamError):
                    service.generate_audio("Hello.", voice_id="v1").read_all()
    return len(asked)


def time_of_a_hang() -> float:
    """Seconds until a call came back from an upstream that takes a request and says nothing."""

    def hang(sock: socket.socket) -> None:
        while sock.recv(65_536):
            pass

    with upstream(hang) as url:
        retrier = Retrier(RetryPolicy(total_seconds=DEADLINE_SECONDS), budget=RetryBudget())
        with ElevenLabsService(url, keys=KeyChoice(lambda: [Secret("key")]), retrier=retrier) as service:
            began = time.monotonic()
            with contextlib.suppress(UpstreamError):
                service.generate_audio("Hello.", voice_id="v1").read_all()
            return time.monotonic() - began


@contextlib.contextmanager
def upstream(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that runs `serve` for each connection; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve_one(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                serve(sock)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    threading.Thread(target=serve_one, args=(sock,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5.0)


if __name__ == "__main__":
    sys.exit(main())
