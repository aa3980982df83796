"""How far a 0.05 s ticker slips while callers ask a PostgreSQL that hangs; prints a line of JSON.

Run as a process of its own by test_hanging_database.py, with the server's URL, its process id, the number of callers
and the limit of a statement. The ticker runs alone first, then while the server is stopped: callers without a
connection, with an idle one, and in the middle of a transaction. At the end the server goes on and is asked again.
"""

# ruff: noqa: E402 (gevent patches before anything else is imported)
from gevent import monkey

monkey.patch_all()

import json
import signal
import sys
import threading
import time
from collections.abc import Callable

import gevent
from sqlalchemy import text

from scripts.launcher.waiting import wait_until
from service.errors import ServiceUnavailableError
from service.storage import Database, open_database
from tests import server_processes

TICK_SECONDS = 0.05


def ticks_until(done: Callable[[], bool]) -> list[float]:
    """How long each tick took."""
    took = []
    while not done():
        began = time.monotonic()
        time.sleep(TICK_SECONDS)
        took.append(time.monotonic() - began)
    return took


def ask(database: Database) -> None:
    with database.reading() as session:
        session.execute(text("SELECT 1")).scalar_one()


def begin_and_go_on(database: Database, begun: threading.Event, stopped: threading.Event) -> None:
    with database.writing() as session:
        session.execute(text("CREATE TEMPORARY TABLE t (x integer)"))
        begun.set()
        stopped.wait(30)
        session.execute(text("INSERT INTO t VALUES (1)"))


def outcome(call: Callable[[], None]) -> tuple[str, float]:
    began = time.monotonic()
    try:
        call()
        ended = "answered"
    except ServiceUnavailableError:
        ended = "ServiceUnavailableError"
    return ended, time.monotonic() - began


def answers(database: Database) -> bool:
    return outcome(lambda: ask(database))[0] == "answered"


def main(url: str, postmaster: int, number: int, statement_seconds: float) -> None:
    database = open_database(url, statement_seconds=statement_seconds)
    ask(database)
    count = iter(range(40))
    alone = ticks_until(lambda: next(count) == 39)
    begun, stopped = threading.Event(), threading.Event()
    under_way = gevent.spawn(outcome, lambda: begin_and_go_on(database, begun, stopped))
    assert begun.wait(30)
    ask(database)  # and leave an idle connection behind
    try:
        server_processes.send(postmaster, signal.SIGSTOP)
        stopped.set()
        callers = [gevent.spawn(outcome, lambda: ask(database)) for _ in range(number)]
        hung = ticks_until(lambda: all(caller.dead for caller in [*callers, under_way]))
    finally:
        server_processes.send(postmaster, signal.SIGCONT)
    wait_until(lambda: answers(database), 30.0, "the database after its stop")
    outcomes = [caller.get() for caller in [*callers, under_way]]
    print(json.dumps({"alone": alone, "hung": hung, "outcomes": outcomes}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
