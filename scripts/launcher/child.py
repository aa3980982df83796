"""One server process of ours: started with its output in a file, watched, ended with everything it started.

The key decision: each child leads a process group of its own, so that Ctrl-C in a terminal reaches only the launcher,
which then ends the groups in order; and the kernel ends a child whose launcher was killed (`tied_to_parent`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.launcher.waiting import wait_until

TIED = Path(__file__).with_name("tied_to_parent.py")
LAST_BYTES = 8192


class ChildFailedError(Exception):
    """A child ended, or did not become ready; the message has its last log lines."""


class Child:
    """A process called `name`. `start` runs it; `stop` ends it and is safe to call at any time."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_path: Path,
        folder: Path,
        stop_seconds: float = 5.0,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = list(command)
        self._environment = dict(environment)
        self._folder = folder
        self._stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before it was started; minus the signal's number if one ended it."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Run the command. The log of the run before is kept as NAME.log.1."""
        if self.log_path.exists():
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        log = os.open(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-IS", str(TIED), str(os.getpid()), *self._command],
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        finally:
            os.close(log)

    def wait_until_ready(self, is_ready: Callable[[], bool], limit: float) -> None:
        """Wait for `is_ready()`.

        Raises:
            ChildFailedError: the process ended first, or `limit` seconds went by.
        """
        try:
            wait_until(lambda: self.exit_code is not None or is_ready(), limit, self.name)
        except TimeoutError as exc:
            raise ChildFailedError(self._failure(f"was not ready within {limit:g} s")) from exc
        self.check()

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            ChildFailedError: it ended.
        """
        code = self.exit_code
        if code is not None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            raise ChildFailedError(self._failure(how))

    def ask_to_stop(self) -> None:
        """Send SIGTERM and wait for nothing."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """Ask it to stop, wait a bounded time, then kill whatever is left of its process group."""
        if self._process is None:
            return
        self.ask_to_stop()
        try:
            self._process.wait(self._stop_seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill what is left of its process group, at once."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says the second of a group of zombies
            return
        finally:
            self._process.wait(self._stop_seconds)

    def last_lines(self, count: int = 15) -> list[str]:
        """The end of its log, for a person."""
        if not self.log_path.exists():
            return []
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - LAST_BYTES))
            return log.read().decode("utf-8", "replace").splitlines()[-count:]

    def _failure(self, how: str) -> str:
        lines = "".join(f"\n  | {line}" for line in self.last_lines())
        return f"{self.name} {how}. The end of {self.log_path}:{lines or ' (empty)'}"


def stop_all(children: Sequence[Child]) -> None:
    """End all: the last one started first and alone, because it uses the others; these then together."""
    if not children:
        return
    *others, last = children
    last.stop()
    for child in others:
        child.ask_to_stop()
    for child in others:
        child.stop()
