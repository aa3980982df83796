"""What the ops listener answers, and that no client keeps it from answering others."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from scripts.launcher.waiting import wait_until
from service import __version__, ops_listener, ops_readiness
from service.ops_listener import MOST_CONNECTIONS, OpsServer
from service.ops_readiness import WorkerReadiness
from tests.servers import ROOT

ALL_READ = b"""\
# HELP vocero_metrics_unreadable_files Files of workers' metrics that could not be read and are left out of this answer.
# TYPE vocero_metrics_unreadable_files gauge
vocero_metrics_unreadable_files 0.0
"""
WELL = {"redis": "ok", "database": "ok", "secrets": "ok"}


@dataclass(frozen=True)
class Running:
    """An ops listener in a thread of this process."""

    server: OpsServer
    address: tuple[str, int]
    folder: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer; the connection must end with it."""
        with self.connect() as client:
            client.sendall(request)
            with client.makefile("rb") as stream:
                head, _, body = stream.read().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = (line.partition(": ") for line in lines)
        return int(first.split()[1]), {name.lower(): value for name, _, value in headers}, body

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Running]:
    with OpsServer(socket.create_server(("127.0.0.1", 0)), master=os.getppid(), folder=tmp_path) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield Running(server, server.socket.getsockname(), tmp_path)
        finally:
            server.shutdown()
            thread.join(10)


def write_metric(file: Path, value: float) -> None:
    written = MmapedDict(str(file))  # type: ignore[no-untyped-call]
    written.write_value(mmap_key("cakes", "cakes_total", [], [], "Cakes baked."), value, 0.0)  # type: ignore[no-untyped-call]
    written.close()  # type: ignore[no-untyped-call]


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_it_tells_that_it_lives_and_its_version(listener: Running) -> None:
    status, headers, body = listener.get("/livez?probe=1")
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    status, _, body = listener.get("/version")
    assert (status, json.loads(body)) == (200, {"version": __version__, "schema": {"code": [], "database": []}})


def test_it_adds_up_the_files_of_all_places(listener: Running) -> None:
    write_metric(listener.folder / "counter_0.db", 2)
    write_metric(listener.folder / "counter_1.db", 3)
    status, headers, body = listener.get("/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert body == b"# HELP cakes_total Cakes baked.\n# TYPE cakes_total counter\ncakes_total 5.0\n" + ALL_READ


def test_before_any_worker_counts_there_is_nothing_to_tell(listener: Running) -> None:
    assert listener.get("/metrics")[::2] == (200, ALL_READ)
    listener.folder.rmdir()
    assert listener.get("/metrics")[::2] == (200, ALL_READ)
    assert listener.get("/readyz")[0] == 503
    listener.folder.mkdir()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("counter_1.db", b""),
        ("counter_1.db", b"\x10"),
        ("counter_1.db", b"\xff\xff\xff\x7f" + b"\xff\xff\xff\x7f" * 16),
        ("counter_1.db", b"\x40\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00[1, 2, " + b"\x00" * 64),
        ("counter_1.db", b"\x40\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x0012" + b"\x00" * 64),
        ("gauge.db", b"\x40\x00\x00\x00\x00\x00\x00\x00\x0e\x00\x00\x00[1, 2, {}, 3]" + b" " * 64),
        ("nonsense.db", b"\x40\x00\x00\x00\x00\x00\x00\x00\x0e\x00\x00\x00[1, 2, {}, 3]" + b" " * 64),
    ],
    ids=["empty", "short", "lengths", "half a key", "no key", "no place", "no kind"],
)
def test_a_file_that_cannot_be_read_is_named_and_the_others_are_told(
    listener: Running, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    write_metric(listener.folder / "counter_0.db", 2)
    (listener.folder / name).write_bytes(content)
    for _ in range(2):
        status, _, body = listener.get("/metrics")
        assert (status, body.splitlines()[2]) == (200, b"cakes_total 2.0")
        assert body.endswith(b"vocero_metrics_unreadable_files 1.0\n")
    (line,) = said(capsys)
    assert (line["level"], line["event"], line["file"]) == ("warning", "a file of metrics cannot be read", name)
    (listener.folder / name).unlink()
    assert listener.get("/metrics")[2].endswith(ALL_READ)


def test_it_is_ready_while_one_worker_is_and_says_what_the_others_lack(listener: Running) -> None:
    ill = {**WELL, "redis": "TimeoutError"}
    ops_readiness.write(listener.folder, 0, WorkerReadiness(WELL, conversations=3, capacity=10, code_schema="0006"))
    ops_readiness.write(listener.folder, 1, WorkerReadiness(ill, conversations=1, capacity=10, database_schema="0005"))
    status, headers, body = listener.get("/readyz")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {
        "status": "ok",
        **ill,
        "draining": False,
        "maintenance": None,
        "dependencies": {
            "redis": {"ok": 1, "failing": 1, "reason": "TimeoutError"},
            "database": {"ok": 2, "failing": 0, "reason": None},
            "secrets": {"ok": 2, "failing": 0, "reason": None},
        },
        "workers": {"answering": 2, "ready": 1, "draining": 0, "conversations": 4, "capacity": 20},
    }
    assert json.loads(listener.get("/version")[2])["schema"] == {"code": ["0006"], "database": ["0005"]}
    ops_readiness.write(listener.folder, 0, WorkerReadiness(WELL, maintenance="schema back to 0005"))
    status, _, body = listener.get("/readyz")
    assert (status, json.loads(body)["maintenance"]) == (503, "schema back to 0005")


def test_without_a_worker_that_answers_it_is_not_ready_and_says_so(listener: Running) -> None:
    status, _, body = listener.get("/readyz")
    assert (status, json.loads(body)["reason"]) == (503, "no worker answers")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404, "not_found"),
        (b"GET // HTTP/1.1\r\n\r\n", 404, "not_found"),
        (b"POST /metrics HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 405, "method_not_allowed"),
        (b"DELETE /livez HTTP/1.1\r\n\r\n", 405, "method_not_allowed"),
        (b"\x16\x03\x01\x02\x00 hello HTTP/1.1\r\n\r\n", 405, "method_not_allowed"),
        (b"GET\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/9.9\r\n\r\n", 505, "bad_request"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101, 431, "bad_request"),
    ],
)
def test_what_it_does_not_have_and_what_makes_no_sense_is_told_as_the_service_tells_it(
    listener: Running, capsys: pytest.CaptureFixture[str], request_: bytes, status: int, code: str
) -> None:
    found, headers, body = listener.ask(request_)
    assert (found, json.loads(body)["detail"]["code"]) == (status, code)
    assert headers["content-type"] == "application/json"
    assert headers.get("allow") == ("GET" if status == 405 else None)
    assert said(capsys) == []


def test_a_question_for_the_head_alone_gets_no_body(listener: Running) -> None:
    assert listener.ask(b"HEAD /metrics HTTP/1.1\r\n\r\n")[::2] == (405, b"")


def test_a_request_line_without_end_is_not_read_to_its_end(listener: Running) -> None:
    with listener.connect() as client:
        client.sendall(b"GET /" + b"a" * 65_532)
        with client.makefile("rb") as stream:
            assert stream.readline().split()[1] == b"414"


def test_silent_clients_make_room_for_who_asks(listener: Running) -> None:
    silent = [listener.connect() for _ in range(MOST_CONNECTIONS + 3)]
    try:
        assert listener.get("/livez")[0] == 200
        for client in silent[:3]:
            assert client.recv(1) == b"", "the oldest went first"
        assert threading.active_count() < 2 * MOST_CONNECTIONS
    finally:
        for client in silent:
            client.close()


def test_who_is_slow_is_cut_off_in_the_end_even_if_something_comes_now_and_then(
    listener: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops_listener, "CONNECTION_SECONDS", 0.3)
    with listener.connect() as client:
        client.setblocking(False)

        def is_cut_off() -> bool:
            try:
                client.send(b"G")
                return client.recv(1) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True

        wait_until(is_cut_off, 10)


def test_a_client_that_leaves_at_once_is_no_event(listener: Running, capsys: pytest.CaptureFixture[str]) -> None:
    for request in (b"", b"GET", b"GET /metrics HTTP/1.1\r\n\r\n"):
        with listener.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # a reset
            client.sendall(request)
    assert listener.get("/livez")[0] == 200
    assert said(capsys) == []


def test_it_imports_the_standard_library_alone() -> None:
    """It runs beside every service, and what it does not know it cannot give away."""
    code = (
        "import sys, service.ops_listener\n"
        "found = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "print(*sorted(name for name in found if not name.startswith('_')))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["service"]


def test_it_leaves_when_the_master_is_not_its_parent_any_more(tmp_path: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with OpsServer(listening, master=os.getppid() + 1, folder=tmp_path) as server, pytest.raises(SystemExit):
        server.serve_forever(poll_interval=0.01)
