"""Our own servers as a test meets them: started as in production, on free ports, with their logs at hand."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.launcher import probes
from scripts.launcher.child import Child
from scripts.launcher.waiting import wait_until
from service.variables import without_ours

ROOT = Path(__file__).parent.parent
READY_SECONDS = 120.0  # of a machine that does much else at the same time


def free_port() -> int:
    """A port of the loopback interface that nothing listens on just now."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def clean_environment(**ours: str) -> dict[str, str]:
    """The environment without any setting of ours, then `ours`."""
    return {**without_ours(os.environ), "PYTHONUNBUFFERED": "1", **ours}


def run_module(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`python -m` with these arguments, as an operator has it: to its end, with these settings of ours alone."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=READY_SECONDS,
        check=False,
    )


def children_of(pid: int) -> list[int]:
    """The process ids of the children that `pid` has now (Linux)."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def descendants_of(pid: int) -> list[int]:
    """Its children, their children, and so on."""
    found = children_of(pid)
    return found + [below for child in found for below in descendants_of(child)]


def is_alive(pid: int) -> bool:
    """Tell whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _is_ops_listener(pid: int) -> bool:
    try:
        return b"service.ops_listener" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox: `url` without a slash at its end."""

    url: str
    child: Child

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def start_until_ready(child: Child, is_ready: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Start a process and wait for it; raises ChildFailedError, and then it does not run."""
    child.start()
    try:
        child.wait_until_ready(is_ready, seconds)
    except BaseException:  # nothing is left running, whatever happened
        child.stop()
        raise


def start_sandbox(folder: Path, *options: str) -> RunningSandbox:
    """Run `python -m sandbox` with `options` on a free port."""
    child = Child(
        "sandbox",
        [sys.executable, "-m", "sandbox", "--port", "0", *options],
        environment=clean_environment(),
        log_path=folder / "sandbox.log",
        folder=ROOT,
    )

    def answers() -> bool:
        url = _announced_url(child.log_path)
        return url is not None and probes.answers(f"{url}/sandbox/stats")

    start_until_ready(child, answers)
    return RunningSandbox(url=_announced_url(child.log_path) or "", child=child)


def _announced_url(log_path: Path) -> str | None:
    found = re.search(r"http://127\.0\.0\.1:\d+(?=\D)", log_path.read_text())
    return found.group() if found else None


@dataclass(frozen=True)
class RunningService:
    """The service under gunicorn: `url` and `ws_url` without a slash at their ends, and a good API key."""

    url: str
    ws_url: str
    api_key: str
    log_path: Path
    environment: Mapping[str, str]
    child: Child

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def log(self) -> str:
        """Everything that it has written so far."""
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, text: str, limit: float = 10.0) -> None:
        """Wait until `text` stands in the log."""
        wait_until(lambda: text in self.log(), limit, f"{text!r} in the log")

    def worker_pids(self) -> list[int]:
        """The process ids of the workers that run now (Linux)."""
        return [pid for pid in children_of(self.child.pid) if not _is_ops_listener(pid)]

    @property
    def ops_url(self) -> str:
        """Where its ops listener is, if the test gave it a port (VOCERO_OPS_PORT)."""
        return f"http://127.0.0.1:{self.environment['VOCERO_OPS_PORT']}"

    def ops_pid(self) -> int | None:
        """The process id of its ops listener (Linux); None if there is none just now."""
        return next((pid for pid in children_of(self.child.pid) if _is_ops_listener(pid)), None)

    def stop(self) -> int | None:
        """End it as an operator would (SIGTERM, later SIGKILL); the result is its exit code."""
        self.child.stop()
        return self.child.exit_code

    def discard(self) -> None:
        """End it at once, when nobody wants to see any more how it ends: that saves each test a second and a half.

        What it leaves in Redis expires, and its metrics' folder goes when the next service starts.
        """
        self.child.kill()


def start_service(
    folder: Path,
    api_key: str,
    environment: Mapping[str, str],
    *,
    application: str = "service.wsgi:app",
    behind: Sequence[str] = (),
) -> RunningService:
    """Run the service on a free port of the loopback interface; `environment` has its settings.

    Another `application` than the service's own must answer `/livez` too. It has an ops listener only if they say so.
    `behind` is a command that ends by becoming the service's (`unshare ...`).
    """
    port = int(environment.get("VOCERO_PORT") or free_port())
    settings = {
        "VOCERO_HOST": "127.0.0.1",
        "VOCERO_PORT": str(port),
        "VOCERO_OPS_PORT": "0",
        "VOCERO_WORKERS": "1",
        "VOCERO_LOG_LEVEL": "debug",
        # What a job asks of the upstream would use up the faults that tests arm for their own requests.
        "VOCERO_COST_FETCH": "false",
        # A label that nobody has thought of is a mistake, and in production one that nobody notices.
        "VOCERO_STRICT_LABELS": "true",
        # Most tests are about what ElevenLabs does; those of the fallback ask for it.
        "VOCERO_FALLBACK_CHAIN": "elevenlabs",
        # Nor does every service need a process that listens to it.
        "VOCERO_QUALITY_SAMPLE_SHARE": "0",
        # gunicorn's configuration wants a key, whatever runs on it.
        **({} if application == "service.wsgi:app" else {"ELEVENLABS_API_KEY": "no key"}),
        **environment,
    }
    child = Child(
        "service",
        [*behind, sys.executable, "-m", "gunicorn", "-c", "service/gunicorn_conf.py", application],
        environment=clean_environment(**settings),
        log_path=folder / "service.log",
        folder=ROOT,
        stop_seconds=15.0,
    )
    start_until_ready(child, lambda: probes.answers(f"http://127.0.0.1:{port}/livez"))
    return RunningService(
        url=f"http://127.0.0.1:{port}",
        ws_url=f"ws://127.0.0.1:{port}",
        api_key=api_key,
        log_path=child.log_path,
        environment=settings,
        child=child,
    )
