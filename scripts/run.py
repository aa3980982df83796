"""The second stage of `make run`: start the embedded parts and the service, tell where they are, end them all again.

The key decision: everything that can be known to fail (a variable, a port, the schema, a Redis that is not there) is
checked before the first process is started, so that a mistake costs one line and leaves nothing running.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

import redis

from dashboard.access.first_user import first_admin, somebody_can_enter
from scripts.launcher import probes, valkey
from scripts.launcher.banner import Entrance, banner
from scripts.launcher.child import Child, ChildFailedError, stop_all
from scripts.launcher.log_tail import LogTail
from scripts.launcher.plan import Plan, check_ports, make_plan
from scripts.launcher.state import development_key, private_state
from scripts.launcher.waiting import wait_until
from service import unknown_variables
from service.errors import ConfigurationError
from service.storage import AdminUsers, Database, check_schema, open_database
from service.storage.schema import SCHEMA_REVISION
from service.variables import without_ours

ROOT = Path(__file__).resolve().parent.parent
VALKEY_SECONDS = 30.0
SANDBOX_SECONDS = 120.0
SERVICE_SECONDS = 120.0
DASHBOARD_SECONDS = 60.0
SERVICE_STOP_SECONDS = 10.0
MIGRATION_SECONDS = 60.0
DATABASE_SECONDS = 5.0
PING_SECONDS = 2.0
WATCH_SECONDS = 0.1


class StopRequestedError(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal; not an `Exception`, so that nothing on the way takes it for a fault."""


def main(arguments: list[str] | None = None) -> int:
    """Run until somebody stops it or a child ends; the exit code is 0 only for the former."""
    options = _parser().parse_args(arguments)
    children: list[Child] = []
    _stop_on_signals(children)
    try:
        plan = make_plan(ROOT, options.env_file)
        for complaint in unknown_variables.complaints():
            print(complaint, file=sys.stderr, flush=True)
        check_ports(plan)
        with private_state(plan.state):
            try:
                _run(plan, children, verbose=options.verbose)
            finally:
                _leave(plan, children)
    except StopRequestedError:
        _say("Stopped.")
        return 0
    except ConfigurationError as exc:
        print(exc, file=sys.stderr, flush=True)
        return exc.exit_code
    except (ChildFailedError, TimeoutError) as exc:
        print(exc, file=sys.stderr, flush=True)
        return 1


def _run(plan: Plan, children: list[Child], *, verbose: bool) -> NoReturn:
    started = time.monotonic()
    _check_given_parts(plan)
    waits: list[Callable[[], None]] = []
    if plan.valkey_socket is not None:
        waits.append(_start_valkey(plan, plan.valkey_socket, children))
    if plan.sandbox_port is not None:
        waits.append(_start_sandbox(plan, plan.sandbox_port, children))
    key = _prepare_database(plan, children)
    entrance = _prepare_dashboard(plan)
    if plan.dashboard is not None and entrance.is_open:
        waits.append(_start_dashboard(plan, plan.dashboard, children))
    waits.append(_start_service(plan, children))
    tail = LogTail(children if verbose else [])
    _say(f"Starting {', '.join(child.name for child in children)} ...")
    for wait in waits:
        wait()
    _say(f"Ready after {time.monotonic() - started:.1f} s.")
    _say(banner(plan, key, entrance))
    while True:
        for child in children:
            child.check()
        tail.print_new_lines()
        time.sleep(WATCH_SECONDS)


def _check_given_parts(plan: Plan) -> None:
    """Ask the parts that the user named, instead of ours, whether they can be used.

    Raises:
        ConfigurationError: one cannot: no answer, or a database without our schema.
    """
    if plan.valkey_socket is None:
        _check_redis(plan.settings.redis_url)
    database = open_database(plan.database_url)
    try:
        if not plan.has_own_database:
            check_schema(database)
    finally:
        database.close()


def _check_redis(url: str) -> None:
    store = redis.Redis.from_url(url, socket_timeout=PING_SECONDS, socket_connect_timeout=PING_SECONDS)
    try:
        store.ping()
    except redis.RedisError as exc:
        # The message may show the URL's password: the class says enough.
        raise ConfigurationError(f"VOCERO_REDIS_URL: no answer from there ({type(exc).__name__}).") from None
    finally:
        store.close()


def _start_valkey(plan: Plan, socket: Path, children: list[Child]) -> Callable[[], None]:
    child = _stranger(plan, "valkey", valkey.server_command(plan.state / "valkey", socket))
    children.append(child)
    child.start()
    return lambda: child.wait_until_ready(lambda: probes.accepts(str(socket)), VALKEY_SECONDS)


def _start_sandbox(plan: Plan, port: int, children: list[Child]) -> Callable[[], None]:
    # The ears load behind its back, so that the first spoken word need not wait for them.
    options = ["--port", str(port), "--state-folder", str(plan.state), "--warm-ears"]
    child = _stranger(plan, "sandbox", [sys.executable, "-m", "sandbox", *options])
    children.append(child)
    child.start()
    url = f"http://127.0.0.1:{port}/sandbox/stats"
    return lambda: child.wait_until_ready(lambda: probes.answers(url), SANDBOX_SECONDS)


def _start_service(plan: Plan, children: list[Child]) -> Callable[[], None]:
    command = [sys.executable, "-m", "gunicorn", "-c", "service/gunicorn_conf.py", "service.wsgi:app"]
    child = _child(plan, "service", command, stop_seconds=SERVICE_STOP_SECONDS)
    children.append(child)
    child.start()
    return lambda: child.wait_until_ready(lambda: probes.answers(f"{plan.page}/livez"), SERVICE_SECONDS)


def _start_dashboard(plan: Plan, address: str, children: list[Child]) -> Callable[[], None]:
    command = [sys.executable, "-m", "gunicorn", "-c", "dashboard/gunicorn_conf.py", "dashboard.wsgi:app"]
    child = _child(plan, "dashboard", command)
    children.append(child)
    child.start()
    return lambda: child.wait_until_ready(lambda: probes.answers(f"{address}/livez"), DASHBOARD_SECONDS)


def _stranger(plan: Plan, name: str, command: list[str]) -> Child:
    """A child that reads no setting, and so gets none: any of them may be a secret."""
    return _child(plan, name, command, environment=without_ours(plan.environment))


def _child(
    plan: Plan,
    name: str,
    command: list[str],
    *,
    environment: Mapping[str, str] | None = None,
    stop_seconds: float = 5.0,
) -> Child:
    return Child(
        name,
        command,
        environment=plan.environment if environment is None else environment,
        log_path=plan.state / "logs" / f"{name}.log",
        folder=ROOT,
        stop_seconds=stop_seconds,
    )


def _prepare_database(plan: Plan, children: list[Child]) -> str | None:
    """Migrate the embedded database and get its development key; a database of the user's stays as it is."""
    if not plan.has_own_database:
        return None
    database = open_database(plan.database_url, busy_seconds=DATABASE_SECONDS)
    try:
        if not _has_newest_schema(database):
            _migrate(plan, children)
        return development_key(database, plan.state / "development-api-key")
    finally:
        database.close()


def _prepare_dashboard(plan: Plan) -> Entrance:
    """Make the first user of the embedded database; who may enter a database of the user's is not ours to say."""
    if plan.dashboard is None:
        return Entrance(is_open=False)
    database = open_database(plan.database_url, busy_seconds=DATABASE_SECONDS)
    try:
        users = AdminUsers(database)
        password = first_admin(users) if plan.has_own_database else None
        has_provider = plan.settings.oidc_issuer is not None
        return Entrance(is_open=somebody_can_enter(users, has_provider=has_provider), password=password)
    finally:
        database.close()


def _has_newest_schema(database: Database) -> bool:
    """Tell whether no step is left; the service would run on a known older schema too, but then for ever."""
    try:
        check_schema(database)
    except ConfigurationError:
        return False
    return database.revision == SCHEMA_REVISION


def _migrate(plan: Plan, children: list[Child]) -> None:
    """Bring the embedded database up to date, in a process of its own: a second start need not load Alembic.

    Raises:
        ChildFailedError: that failed, and nothing was changed.
    """
    _say("Preparing the database ...")
    child = _child(plan, "migrations", [sys.executable, "-m", "migrations", "upgrade"])
    children.append(child)
    child.start()
    wait_until(lambda: child.exit_code is not None, MIGRATION_SECONDS, "the migration of the database")
    if child.exit_code != 0:
        child.check()
    children.remove(child)


def _leave(plan: Plan, children: list[Child]) -> None:
    stop_all(children)
    if plan.valkey_socket is not None and plan.state not in plan.valkey_socket.parents:
        plan.valkey_socket.unlink(missing_ok=True)
        plan.valkey_socket.parent.rmdir()


def _stop_on_signals(children: list[Child]) -> None:
    """Leave at the first signal; kill the children at a second one, for whoever cannot wait."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def kill(_number: int, _frame: FrameType | None) -> None:
        for child in children:
            child.kill()

    def leave(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, kill)
        raise StopRequestedError

    for number in numbers:
        signal.signal(number, leave)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone, and leaving must go on
        print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make run", description="Run Vocero on this machine.")
    parser.add_argument("--verbose", action="store_true", default=bool(os.environ.get("V")), help="show the logs too")
    parser.add_argument("--env-file", type=Path, default=ROOT / ".env", help="settings to read, if it is there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
