"""The relays that the service is compared with, each configured as somebody who knows it would for this load.

The key decision: they only carry one WebSocket to another address, which is all that their numbers may be read as. None
of them checks a ticket, counts messages, bounds one or knows what was said. Each has one process, as the service has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import find_server
from benchmarks.peers import configurations
from benchmarks.targets import Target
from scripts.launcher import probes
from scripts.launcher.child import Child
from tests.servers import READY_SECONDS, ROOT, children_of, clean_environment, free_port

CONNECTIONS = 8192
"""Room for sockets in each relay, far above what any load opens."""


@dataclass(frozen=True)
class Peer:
    """A relay that may be there. `command(folder, port, upstream_port)` starts it; None: it is not installed."""

    name: str
    how_to_get: str
    command: Callable[[Path, int, int], list[str] | None]
    forks: bool = False
    """Whether its work is done by a child of the process that is started."""


def _nginx(folder: Path, port: int, upstream_port: int) -> list[str] | None:
    program = find_server("nginx")
    if program is None:
        return None
    path = folder / "nginx.conf"
    path.write_text(configurations.nginx(folder, port, upstream_port, CONNECTIONS))
    return [program, "-p", str(folder), "-e", "stderr", "-c", str(path)]


def _haproxy(folder: Path, port: int, upstream_port: int) -> list[str] | None:
    program = find_server("haproxy")
    if program is None:
        return None
    path = folder / "haproxy.cfg"
    path.write_text(configurations.haproxy(port, upstream_port, CONNECTIONS))
    return [program, "-db", "-f", str(path)]


def _websockets(folder: Path, port: int, upstream_port: int) -> list[str]:
    return [
        sys.executable, "-m", "benchmarks.peers.websockets_relay",
        "--port", str(port), "--upstream-port", str(upstream_port),
    ]  # fmt: skip


def _flask_sock(folder: Path, port: int, upstream_port: int) -> list[str]:
    return [
        sys.executable, "-m", "gunicorn", "--worker-class", "gevent", "--workers", "1",
        "--worker-connections", str(CONNECTIONS), "--bind", f"127.0.0.1:{port}", "--no-control-socket",
        f"benchmarks.peers.flask_sock_relay:create_app({upstream_port})",
    ]  # fmt: skip


PEERS = (
    Peer("nginx", "apt-get install nginx-light", _nginx, forks=True),
    Peer("haproxy", "apt-get install haproxy", _haproxy),
    Peer("websockets", "pip install websockets", _websockets),
    Peer("flask-sock", "pip install flask-sock gunicorn gevent", _flask_sock, forks=True),
)


@contextmanager
def running_peers(folder: Path, upstream_port: int, *, api_key: str) -> Iterator[tuple[Target, ...]]:
    """All that are installed, in front of the fake upstream; those that are not are named on stderr."""
    with ExitStack() as stack:
        started = []
        for peer in PEERS:
            port = free_port()
            command = peer.command(folder, port, upstream_port)
            if command is None:
                print(f"{peer.name} is left out: it is not installed ({peer.how_to_get}).", file=sys.stderr)
                continue
            child = _start(peer, command, folder, port, stack)
            pids = tuple(children_of(child.pid)) if peer.forks else (child.pid,)
            started.append(Target(peer.name, port, api_key, pids))
        yield tuple(started)


def _start(peer: Peer, command: list[str], folder: Path, port: int, stack: ExitStack) -> Child:
    child = Child(
        peer.name,
        command,
        environment=clean_environment(),
        log_path=folder / f"{peer.name}.log",
        folder=ROOT,
    )
    child.start()
    stack.callback(child.stop)
    child.wait_until_ready(
        lambda: probes.accepts(("127.0.0.1", port)) and (not peer.forks or bool(children_of(child.pid))), READY_SECONDS
    )
    return child
