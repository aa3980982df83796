"""gunicorn's side of the ops listener: its socket, its process, and the files that the workers count in.

The key decision: the socket is the master's. So a port that is taken ends the start with one line, and when the process
that answers on it dies, questions wait in the socket until the next one is there. gunicorn watches its workers only and
has no hook for another child's end; so this is asked again and again (`keep_running`) by the loop that looks after the
workers. There is no thread: the master forks.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from service import metrics_files
from service.errors import ConfigurationError

RESTART_SECONDS = 5.0
"""Between two starts at least, so that what cannot run does not cost a core."""

STOP_SECONDS = 2.0
_BACKLOG = 64
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
_ROOT = Path(__file__).parent.parent


class _Log(Protocol):
    def warning(self, msg: str) -> None: ...


class OpsProcess:
    """The ops listener at `host` and `port`. `environment` is the master's, of which the process gets what is no
    secret; `folder` is where the workers' files go.
    """

    def __init__(self, *, host: str, port: int, folder: Path, environment: Mapping[str, str], log: _Log) -> None:
        self._host = host
        self._port = port
        self._folder = folder
        self._environment = {
            name: value for name, value in environment.items() if name in _INHERITED or name.startswith("PYTHON")
        }
        self._log = log
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._held: int | None = None
        self._not_before = 0.0

    def listen(self) -> None:
        """Take the port.

        Raises:
            ConfigurationError: it cannot be had; one line that names the variable.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            self._socket = socket.create_server((self._host, self._port), family=family, backlog=_BACKLOG)
        except OSError as exc:
            what, variable = f"Port {self._port} on {self._host}", "VOCERO_OPS_PORT"
            if exc.errno == errno.EADDRINUSE:
                raise ConfigurationError(f"{what} is taken: {variable} chooses another, 0 does without.") from None
            raise ConfigurationError(f"{what} cannot be used ({exc.strerror or exc}): see {variable}.") from None

    def start(self) -> None:
        """Make the folder, and start the process that answers.

        Raises:
            ConfigurationError: the folder cannot be made.
        """
        try:
            self._held = metrics_files.make(self._folder)
        except OSError as exc:
            raise ConfigurationError(f"No folder for metrics at {self._folder.parent} ({exc.strerror}).") from None
        self._run()

    def keep_running(self) -> None:
        """Start the process again if it has ended."""
        if self._process is not None and self._process.poll() is None:
            return
        if time.monotonic() >= self._not_before:
            self._log.warning("The ops listener ended; it is started again.")
            self._run()

    def forget_worker(self, place: int) -> None:
        """Remove what was true only while the worker at `place` lived."""
        metrics_files.forget_gauges(self._folder, place)

    def leave_to_the_master(self) -> None:
        """In a new worker: let go of the socket, which the port would not be free without after the master's death."""
        if self._socket is not None:
            self._socket.close()

    def close(self) -> None:
        """End the process, free the port and remove the folder."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_SECONDS)
        if self._socket is not None:
            self._socket.close()
        if self._held is not None:
            metrics_files.remove(self._folder)
            os.close(self._held)
            self._held = None

    def _run(self) -> None:
        self._not_before = time.monotonic() + RESTART_SECONDS
        if self._socket is None:
            raise RuntimeError("listen() comes first")
        descriptor = self._socket.fileno()
        command = [sys.executable, "-m", "service.ops_listener", str(descriptor), str(os.getpid()), str(self._folder)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 (our own module, numbers and a name of our making)
                command, cwd=_ROOT, env=self._environment, stdin=subprocess.DEVNULL, pass_fds=[descriptor]
            )
        except OSError as exc:  # no memory, no process: the master must live, and tries again
            self._log.warning(f"The ops listener could not be started ({exc.strerror}).")
