"""Autobahn's cases 1 to 7, 9 and 10 against the relay, once as a server and once as a client.

As a server: Autobahn's fuzzing client talks to the service process, whose upstream repeats everything. As a client: the
upstream is Autobahn's fuzzing server, and it is our client who repeats everything. Either way each message crosses the
relay twice, and Autobahn is on the side whose rules are tested.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soak.autobahn_environment import autobahn_program
from soak.autobahn_report import CASES, Report, ranges, read_report
from soak.echo_client import ask, repeat
from soak.parts import running
from soak.result import Result
from tests.servers import RunningService, clean_environment, free_port, start_service

AGENT = "vocero"
EXPECTED_CASES = 301
"""How many cases autobahntestsuite 25.10.1 has in these groups."""

LIMIT_SECONDS = 900
PROGRESS_EVERY = 25
BEHAVIOURS = ("OK", "INFORMATIONAL", "NON-STRICT")


def run() -> Result:
    """Both roles; some minutes.

    Raises:
        MissingPartError: Autobahn cannot be run on this machine.
    """
    program = autobahn_program()
    begin = time.monotonic()
    rows: list[tuple[str, ...]] = [
        ("role of the relay", "cases", *BEHAVIOURS, "others", "took", "which are non-strict")
    ]
    failures = []
    for role, play in (("server", _as_server), ("client", _as_client)):
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="vocero-soak-") as name:
            report = play(program, Path(name))
        failures += report.failures(role, EXPECTED_CASES)
        rows.append(_row(role, report, time.monotonic() - started))
    return Result("autobahn", time.monotonic() - begin, rows, failures)


def _row(role: str, report: Report, seconds: float) -> tuple[str, ...]:
    counts = report.counts
    others = counts.total() - sum(counts[name] for name in BEHAVIOURS)
    numbers = [str(number) for number in (counts.total(), *(counts[name] for name in BEHAVIOURS), others)]
    return (role, *numbers, f"{seconds:.0f} s", ranges(report.non_strict))


# --- As a server


def _as_server(program: Path, folder: Path) -> Report:
    port = free_port()
    echo = [sys.executable, "-m", "soak.echo_server", "--port", str(port)]
    with running("echo server", echo, folder, ("127.0.0.1", port)), _relay(folder, port) as relay:
        specification = folder / "client.json"
        server = {"agent": AGENT, "url": f"{relay.ws_url}/relay/echo"}
        specification.write_text(_specification(folder, servers=[server]))
        _follow([str(program), "-m", "fuzzingclient", "-s", str(specification)], folder)
        return read_report(folder / "report", AGENT)


def _follow(command: list[str], folder: Path) -> None:
    """Run the fuzzing client and count its cases aloud."""
    environment = clean_environment()
    done = 0
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            end = time.monotonic() + LIMIT_SECONDS
            for line in process.stdout or ():
                if line.startswith("Running test case"):
                    done += 1
                    _tell("server", done)
                if time.monotonic() > end:
                    return
        finally:
            process.kill()


# --- As a client


def _as_client(program: Path, folder: Path) -> Report:
    port = free_port()
    specification = folder / "server.json"
    specification.write_text(_specification(folder, url=f"ws://127.0.0.1:{port}"))
    command = [str(program), "-m", "fuzzingserver", "-u", "0", "-s", str(specification)]
    with running("fuzzing server", command, folder, ("127.0.0.1", port)), _relay(folder, port) as relay:
        cases = int(ask(f"ws://127.0.0.1:{port}/getCaseCount"))
        for number in range(1, cases + 1):
            repeat(f"{relay.ws_url}/relay/runCase?case={number}&agent={AGENT}")
            _tell("client", number)
        repeat(f"ws://127.0.0.1:{port}/updateReports?agent={AGENT}")
        return read_report(folder / "report", AGENT)


# --- Both


def _specification(folder: Path, **more: object) -> str:
    return json.dumps(
        {
            "outdir": str(folder / "report"),
            "cases": list(CASES),
            "exclude-cases": [],
            "exclude-agent-cases": {},
            "options": {"failByDrop": False},
            **more,
        }
    )


@contextmanager
def _relay(folder: Path, upstream_port: int) -> Iterator[RunningService]:
    environment = {"SOAK_UPSTREAM_URL": f"ws://127.0.0.1:{upstream_port}"}
    service = start_service(folder, "", environment, application="soak.relay_app:app")
    try:
        yield service
    finally:
        service.stop()


def _tell(role: str, done: int) -> None:
    if not done % PROGRESS_EVERY or done == EXPECTED_CASES:
        print(f"  as a {role}: {done} of {EXPECTED_CASES} cases", flush=True)
