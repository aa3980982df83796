"""The second stage of `make run`: start the embedded parts and the service, tell where they are, end them all again.

The key decision: everything that can be known to fail (a variable, a port, the schema, a Redis that is not there) is
checked before the first process is started, so that a mistake costs one line and leaves nothing running.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

import redis

from migrations import runner
from scripts.launcher import probes, valkey
from scripts.launcher.banner import banner
from scripts.launcher.child import Child, ChildFailedError, stop_all
from scripts.launcher.log_tail import LogTail
from scripts.launcher.plan import Plan, check_ports, make_plan
from scripts.launcher.state import development_key, private_state
from service.errors import ConfigurationError
from service.storage import check_schema, open_database

ROOT = Path(__file__).resolve().parent.parent
VALKEY_SECONDS = 10.0
SANDBOX_SECONDS = 60.0
SERVICE_SECONDS = 30.0
SERVICE_STOP_SECONDS = 10.0
WATCH_SECONDS = 0.1


class StopRequestedError(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal; not an `Exception`, so that nothing on the way takes it for a fault."""


def main(arguments: list[str] | None = None) -> int:
    """Run until somebody stops it or a child ends; the exit code is 0 only for the former."""
    options = _parser().parse_args(arguments)
    children: list[Child] = []
    _stop_on_signals(children)
    try:
        plan = make_plan(ROOT)
        check_ports(plan)
        with private_state(plan.state):
            try:
                _run(plan, children, verbose=options.verbose)
            finally:
                _leave(plan, children)
    except StopRequestedError:
        _say("Stopped.")
        return 0
    except (ConfigurationError, ChildFailedError) as exc:
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
    key = _prepare_database(plan)
    waits.append(_start_service(plan, children))
    tail = LogTail(children if verbose else [])
    _say(f"Starting {', '.join(child.name for child in children)} ...")
    for wait in waits:
        wait()
    _say(f"Ready after {time.monotonic() - started:.1f} s.")
    _say(banner(plan, key))
    while True:
        for child in children:
            child.check()
        tail.print_new_lines()
        time.sleep(WATCH_SECONDS)


def _check_given_parts(plan: Plan) -> None:
    """Ask the Redis that the user named, if it is not ours, whether it is there.

    Raises:
        ConfigurationError: it is not.
    """
    if plan.valkey_socket is not None:
        return
    store = redis.Redis.from_url(plan.settings.redis_url, socket_timeout=2, socket_connect_timeout=2)
    try:
        store.ping()
    except redis.RedisError as exc:
        # The message may show the URL's password: the class says enough.
        raise ConfigurationError(f"VOCERO_REDIS_URL: no answer from there ({type(exc).__name__}).") from None
    finally:
        store.close()


def _start_valkey(plan: Plan, socket: Path, children: list[Child]) -> Callable[[], None]:
    child = _child(plan, "valkey", valkey.server_command(plan.state / "valkey", socket))
    children.append(child)
    child.start()
    return lambda: child.wait_until_ready(lambda: probes.accepts(str(socket)), VALKEY_SECONDS)


def _start_sandbox(plan: Plan, port: int, children: list[Child]) -> Callable[[], None]:
    child = _child(plan, "sandbox", [sys.executable, "-m", "sandbox", "--port", str(port)])
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


def _child(plan: Plan, name: str, command: list[str], *, stop_seconds: float = 5.0) -> Child:
    return Child(
        name,
        command,
        environment=plan.environment,
        log_path=plan.state / "logs" / f"{name}.log",
        folder=ROOT,
        stop_seconds=stop_seconds,
    )


def _prepare_database(plan: Plan) -> str | None:
    """Migrate the embedded database and get its development key; a database of the user's is only checked.

    Raises:
        ConfigurationError: the user's database cannot be reached or has another schema.
    """
    if plan.has_own_database:
        runner.upgrade(plan.database_url)
    database = open_database(plan.database_url, busy_seconds=runner.BUSY_SECONDS)
    try:
        if not plan.has_own_database:
            check_schema(database)
            return None
        (plan.state / "vocero.db").chmod(0o600)
        return development_key(database, plan.state / "development-api-key")
    finally:
        database.close()


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
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make run", description="Run Vocero on this machine.")
    parser.add_argument("--verbose", action="store_true", default=bool(os.environ.get("V")), help="show the logs too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
