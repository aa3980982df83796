"""The real parts of a measurement: Valkey, a migrated database, the fake upstream, and the relays before it.

The service is started as in production, with one worker, by the code that the tests start it with.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cores
from benchmarks.certificate import Certificate, make_certificate
from benchmarks.generator.targets import AGENT_ID, Target
from benchmarks.peers.catalogue import CONNECTIONS, Upstream, running_peers
from migrations import runner
from scripts.launcher import probes, valkey
from scripts.launcher.child import Child
from service.storage import ApiKeys, open_database
from tests.servers import READY_SECONDS, ROOT, clean_environment, free_port, start_service

SERVICE, DIRECT = "service", "direct"
ONE_SERVICE: Mapping[str, Mapping[str, str]] = {SERVICE: {}}


@dataclass(frozen=True)
class Parts:
    """What runs. The `relays` and the `direct` way lead to the same fake upstream, which the latter reaches plain."""

    direct: Target
    relays: tuple[Target, ...]
    upstream_pid: int


@contextmanager
def running_parts(
    relays: Collection[str],
    *,
    over_tls: bool = False,
    services: Mapping[str, Mapping[str, str]] = ONE_SERVICE,
    round_trip_ms: float = 0.0,
) -> Iterator[Parts]:
    """Everything, fresh: memory that one measurement has freed must not be there for the next one to use.

    `relays` are names: the service's and those of the catalogue. With `over_tls` they speak TLS with the upstream,
    which then is `round_trip_ms` away. `services` are the settings of each service, by its name.
    """
    with tempfile.TemporaryDirectory(prefix="vocero-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # servers that drop their rights read their certificates here
        certificate = make_certificate(folder)
        plain_port, tls_port = free_port(), free_port()
        upstream_pid = _start_upstream(stack, folder, plain_port, tls_port, certificate, round_trip_ms)
        upstream = Upstream(tls_port, certificate.authority) if over_tls else Upstream(plain_port, None)
        found = []
        ours = [one for one in relays if one in services]
        found += [_start_service(stack, folder / one, upstream, one, services[one]) for one in ours]
        found += stack.enter_context(running_peers(folder, upstream, [one for one in relays if one not in services]))
        for relay in found:
            cores.pin_relay(relay.worker_pids)
        stack.enter_context(cores.pinned_load([os.getpid(), upstream_pid]))
        yield Parts(direct=Target(DIRECT, plain_port, "bench"), relays=tuple(found), upstream_pid=upstream_pid)


def _start_service(stack: ExitStack, folder: Path, upstream: Upstream, name: str, more: Mapping[str, str]) -> Target:
    folder.mkdir(mode=0o755)
    socket = valkey.socket_path(folder)
    _start(stack, "Valkey", valkey.server_command(folder, socket), folder, str(socket))
    database_url, api_key = _prepare_database(folder)
    settings = {
        "ELEVENLABS_BASE_URL": f"{'https' if upstream.authority else 'http'}://127.0.0.1:{upstream.port}",
        "ELEVENLABS_API_KEY": "bench",
        "ELEVENLABS_AGENT_ID": AGENT_ID,
        "VOCERO_PUBLIC_AGENTS": AGENT_ID,
        "VOCERO_REDIS_URL": valkey.redis_url(socket),
        "VOCERO_DATABASE_URL": database_url,
        "VOCERO_LOG_LEVEL": "info",
        # Counted as always, but no flood and no talker reaches it: the bound would protect the others from them.
        "VOCERO_CLIENT_MESSAGES_PER_SECOND": "10000000",
        "VOCERO_WORKER_CONNECTIONS": str(CONNECTIONS),
        "VOCERO_UPSTREAM_CA_FILE": str(upstream.authority or ""),
        **more,
    }
    service = start_service(folder, api_key, settings)
    stack.callback(service.stop)
    return Target(name, service.port, api_key, tuple(service.worker_pids()))


def _start_upstream(
    stack: ExitStack,
    folder: Path,
    plain_port: int,
    tls_port: int,
    certificate: Certificate,
    round_trip_ms: float,
) -> int:
    command = [
        sys.executable, "-m", "benchmarks.generator.fake_upstream",
        "--port", str(plain_port), "--tls-port", str(tls_port), "--certificate", str(certificate.server),
        "--round-trip-ms", str(round_trip_ms),
    ]  # fmt: skip
    return _start(stack, "fake upstream", command, folder, ("127.0.0.1", plain_port)).pid


def _start(stack: ExitStack, name: str, command: list[str], folder: Path, address: str | tuple[str, int]) -> Child:
    log_path = folder / f"{name.replace(' ', '-')}.log"
    child = Child(name, command, environment=clean_environment(), log_path=log_path, folder=ROOT)
    child.start()
    stack.callback(child.stop)
    child.wait_until_ready(lambda: probes.accepts(address), READY_SECONDS)
    return child


def _prepare_database(folder: Path) -> tuple[str, str]:
    """A migrated SQLite database, and an API key in it."""
    url = f"sqlite:///{folder}/vocero.db"
    runner.upgrade(url)
    database = open_database(url)
    try:
        return url, ApiKeys(database).create("bench")[1]
    finally:
        database.close()
