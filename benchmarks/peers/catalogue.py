"""The relays that the service is compared with, each configured as somebody who knows it would for this load.

The key decision: they only carry one connection to another address, which is all that their numbers may be read as.
None of them checks a ticket, counts messages, bounds one or knows what was said. Each has one process, as the service.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator.targets import Target
from benchmarks.machine import find_server
from benchmarks.peers import configurations
from scripts.launcher import probes
from scripts.launcher.child import Child
from tests.servers import READY_SECONDS, ROOT, children_of, clean_environment, free_port

CONNECTIONS = 8192
"""Room for sockets in each relay, far above what any load opens."""


@dataclass(frozen=True)
class Upstream:
    """Where a relay leads to; `authority` is the file of the CA to trust if that speaks TLS."""

    port: int
    authority: Path | None


@dataclass(frozen=True)
class Peer:
    """A relay that may be there. `command(folder, port, upstream)` starts it; None: it is not installed."""

    name: str
    how_to_get: str
    command: Callable[[Path, int, Upstream], list[str] | None]
    forks: bool = False
    """Whether its work is done by a child of the process that is started."""


def _nginx(folder: Path, port: int, upstream: Upstream) -> list[str] | None:
    program = find_server("nginx")
    if program is None:
        return None
    path = folder / "nginx.conf"
    path.write_text(configurations.nginx(folder, port, upstream.port, upstream.authority, CONNECTIONS))
    return [program, "-p", str(folder), "-e", "stderr", "-c", str(path)]


def _haproxy(folder: Path, port: int, upstream: Upstream) -> list[str] | None:
    program = find_server("haproxy")
    if program is None:
        return None
    path = folder / "haproxy.cfg"
    path.write_text(configurations.haproxy(port, upstream.port, upstream.authority, CONNECTIONS))
    return [program, "-db", "-f", str(path)]


def _websockets(folder: Path, port: int, upstream: Upstream) -> list[str]:
    return [
        sys.executable, "-m", "benchmarks.peers.websockets_relay",
        "--port", str(port), "--upstream-port", str(upstream.port),
    ]  # fmt: skip


def _flask_sock(folder: Path, port: int, upstream: Upstream) -> list[str]:
    return [
        sys.executable, "-m", "gunicorn", "--worker-class", "gevent", "--workers", "1",
        "--worker-connections", str(CONNECTIONS), "--bind", f"127.0.0.1:{port}", "--no-control-socket",
        f"benchmarks.peers.flask_sock_relay:create_app({upstream.port})",
    ]  # fmt: skip


PEERS = (
    Peer("nginx", "apt-get install nginx-light", _nginx, forks=True),
    Peer("haproxy", "apt-get install haproxy", _haproxy),
    Peer("websockets", "pip install websockets", _websockets),
    Peer("flask-sock", "pip install flask-sock gunicorn gevent", _flask_sock, forks=True),
)


@contextmanager
def running_peers(folder: Path, upstream: Upstream, names: Collection[str]) -> Iterator[list[Target]]:
    """Those named that are installed, in front of the upstream; the others are named on stderr."""
    with ExitStack() as stack:
        started = []
        for peer in PEERS:
            if peer.name not in names:
                continue
            port = free_port()
            command = peer.command(folder, port, upstream)
            if command is None:
                print(f"{peer.name} is left out: it is not installed ({peer.how_to_get}).", file=sys.stderr)
                continue
            child = _start(peer, command, folder, port, stack)
            pids = tuple(children_of(child.pid)) if peer.forks else (child.pid,)
            started.append(Target(peer.name, port, "bench", pids))
        yield started


def _start(peer: Peer, command: list[str], folder: Path, port: int, stack: ExitStack) -> Child:
    log_path = folder / f"{peer.name}.log"
    child = Child(peer.name, command, environment=clean_environment(), log_path=log_path, folder=ROOT)
    child.start()
    stack.callback(child.stop)
    child.wait_until_ready(
        lambda: probes.accepts(("127.0.0.1", port)) and (not peer.forks or bool(children_of(child.pid))), READY_SECONDS
    )
    return child
