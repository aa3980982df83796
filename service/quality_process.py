"""gunicorn's side of audio quality: the socket at which answers are judged, and the process that does it.

The key decision: as with the ops listener (`ops_process.py`), the socket is the master's, so questions wait in it while
the process is started again; and the loop that looks after the workers looks after it too. One process for all workers
of a node: its models take 95 MB, and what is usual for a voice is learnt from all.

Standard library only: gunicorn's master uses this module, and what it imports a worker can no longer patch.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

RESTART_SECONDS = 5.0
"""Between two starts at least, so that what cannot run does not cost a core."""

_SOCKET_NAME = "audio-quality.socket"
_STOP_SECONDS = 2.0
_BACKLOG = 128
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
_ROOT = Path(__file__).parent.parent
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class _Log(Protocol):
    def warning(self, msg: str) -> None: ...


def socket_in(folder: Path) -> Path:
    """Where in a service's `folder` its workers find who judges."""
    return folder / _SOCKET_NAME


class QualityProcess:
    """One that is kept running, and asked at the Unix socket `address`, which a folder of the service's own is for.

    `environment` is the master's, of which the process gets what is no secret; `log_format` is as in the settings.
    """

    def __init__(self, address: Path, *, environment: Mapping[str, str], log: _Log, log_format: str = "json") -> None:
        self._address = address
        self._environment = {
            name: value for name, value in environment.items() if name in _INHERITED or name.startswith("PYTHON")
        } | _ONE_THREAD
        self._log = log
        self._log_format = log_format
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0

    def listen(self) -> None:
        """Open the socket. Where that cannot be, the log says why: audio is not judged, and everything else goes on."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._address))
            listener.listen(_BACKLOG)
        except OSError as exc:
            listener.close()
            self._log.warning(f"Audio quality is not measured: no socket for it ({exc.strerror or exc}).")
        else:
            self._socket = listener

    def keep_running(self) -> None:
        """Start the process, or start it again if it has ended."""
        if self._socket is None or (self._process is not None and self._process.poll() is None):
            return
        if time.monotonic() >= self._not_before:
            if self._process is not None:
                self._log.warning("The process that judges audio ended; it is started again.")
            self._run(self._socket.fileno())

    @property
    def process_id(self) -> int | None:
        """The process's id while there is one; for tests."""
        return None if self._process is None else self._process.pid

    def leave_to_the_master(self) -> None:
        """In a new worker: let go of the socket."""
        if self._socket is not None:
            self._socket.close()

    def close(self) -> None:
        """End the process, and remove the socket."""
        if self._process is not None:
            self._process.kill()  # it holds nothing that could be lost
            self._process.wait(_STOP_SECONDS)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._address.unlink()

    def _run(self, descriptor: int) -> None:
        self._not_before = time.monotonic() + RESTART_SECONDS
        module = "service.audio_quality.judging"
        command = [sys.executable, "-m", module, str(descriptor), str(os.getpid()), self._log_format]
        try:
            self._process = subprocess.Popen(  # noqa: S603 (our own module and numbers of our making)
                command, cwd=_ROOT, env=self._environment, stdin=subprocess.DEVNULL, pass_fds=[descriptor]
            )
        except OSError as exc:  # no memory, no process: the master must live, and tries again
            self._log.warning(f"The process that judges audio could not be started ({exc.strerror}).")
