"""`/metrics`, `/livez`, `/readyz` and `/version` on a listener of their own: it is started as
`python -m service.ops_listener FD MASTER FOLDER`.

The key decision: a process beside the workers and not a part of one, so that it answers when every conversation slot
is taken and every worker hangs. gunicorn's master starts it (`ops_process.py`) with a socket that listens already
(descriptor FD) and ends with it: this process does not outlive the master (process id MASTER), not even by kill -9.

It knows what lies in the workers' files (FOLDER): their numbers, and what each says of its readiness. It imports
little, because it runs beside every service: the standard library alone, neither settings nor structured logs.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from service import __version__, ops_readiness
from service.metrics_exposition import CONTENT_TYPE, AllWorkers

CONNECTION_SECONDS = 5.0
"""What a client has for everything: a byte now and then does not make it longer."""

MOST_CONNECTIONS = 8
"""At once; who comes then takes the place of the one that is there the longest."""

_LOOK_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1  # prctl(2); only Linux has it, elsewhere the look at our parent's id has to do
_CODES = {404: "not_found", 405: "method_not_allowed"}


class OpsServer(ThreadingHTTPServer):
    """Serves on `listening`, from the files in `folder`, for as long as `master` is our parent."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, *, master: int, folder: Path) -> None:
        super().__init__(listening.getsockname()[:2], OpsHandler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.folder = folder
        self.metrics = AllWorkers(folder, on_bad_file=_name_bad_file)
        self._master = master
        self._lock = threading.Lock()
        self._ends: dict[socket.socket, float] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, one of `MOST_CONNECTIONS`."""
        with self._lock:
            if len(self._ends) >= MOST_CONNECTIONS:
                self._cut(next(iter(self._ends)))
            self._ends[request] = time.monotonic() + CONNECTION_SECONDS
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection that was answered, or cannot be."""
        with self._lock:
            self._ends.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off who takes too long, and leave if the master has gone. `serve_forever` calls this when it wakes."""
        if os.getppid() != self._master:
            raise SystemExit(0)
        now = time.monotonic()
        with self._lock:
            for request in [request for request, end in self._ends.items() if end < now]:
                self._cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the base class's)
        """Tell what went wrong in a thread, unless it is that the client left."""
        error = sys.exception()
        if not isinstance(error, OSError):
            say("error", "the ops listener could not answer", error=type(error).__name__)

    def _cut(self, request: socket.socket) -> None:
        del self._ends[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)  # its thread wakes, finds the end, and closes it


class OpsHandler(BaseHTTPRequestHandler):
    """One request; the connection ends with it."""

    server: OpsServer
    timeout = CONNECTION_SECONDS
    default_request_version = "HTTP/1.0"  # in place of 0.9, whose answers have no head

    def do_GET(self) -> None:
        """Answer one of the paths that there are."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE, self.server.metrics.exposition())
        elif path == "/livez":
            self._answer_json(200, {"status": "ok"})
        elif path == "/readyz":
            said = ops_readiness.together(ops_readiness.read_all(self.server.folder))
            self._answer_json(200 if said["status"] == ops_readiness.OK else 503, said)
        elif path == "/version":
            schemas = ops_readiness.schemas(ops_readiness.read_all(self.server.folder))
            self._answer_json(200, {"version": __version__, "schema": schemas})
        else:
            self.send_error(404, "There are /metrics, /livez, /readyz and /version here.")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 (the same)
        """Answer with a failure as the service words it; the base class calls this too, with 501 for other methods."""
        code = 405 if code == 501 else int(code)
        message = "Only GET is answered here." if code == 405 else message or HTTPStatus(code).phrase
        detail = {"type": "invalid_request", "code": _CODES.get(code, "bad_request"), "message": message}
        self._answer_json(code, {"detail": detail})

    def version_string(self) -> str:
        """The header `Server`."""
        return "vocero"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: there is no access log."""

    def _answer_json(self, code: int, value: object) -> None:
        self._answer(code, "application/json", json.dumps(value).encode() + b"\n")

    def _answer(self, code: int, content_type: str, body: bytes) -> None:
        self.close_connection = True
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        if code == 405:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def say(level: str, event: str, **fields: str) -> None:
    """A line of log in the service's shape, without its library, which costs more than all of this process."""
    line = {**fields, "event": event, "level": level, "timestamp": datetime.now(UTC).isoformat()}
    print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201


def _name_bad_file(file: Path) -> None:
    say("warning", "a file of metrics cannot be read", file=file.name)


def main(arguments: list[str]) -> int:
    """Serve until the master ends us or is gone itself."""
    descriptor, master, folder = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all of us; the master decides what they mean
    signal.signal(signal.SIGTERM, _leave)
    with OpsServer(socket.socket(fileno=descriptor), master=master, folder=folder) as server:
        server.serve_forever(poll_interval=_LOOK_SECONDS)
    return 0


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
