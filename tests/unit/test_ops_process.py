"""The master's side of the ops listener: started again when it ends, but not all the time."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.launcher import probes
from scripts.launcher.waiting import wait_until
from service import ops_process
from service.errors import ConfigurationError
from service.ops_process import OpsProcess
from tests.servers import children_of, free_port


class Log:
    """What the master's log was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, msg: str) -> None:
        self.lines.append(msg)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def ops(tmp_path: Path, port: int, log: Log) -> Iterator[OpsProcess]:
    ops = OpsProcess(host="127.0.0.1", port=port, folder=tmp_path / "metrics", environment=dict(os.environ), log=log)
    yield ops
    ops.close()


def test_it_is_started_again_when_it_ends_but_not_twice_in_a_short_time(
    ops: OpsProcess, port: int, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops_process, "RESTART_SECONDS", 3600.0)
    before = children_of(os.getpid())
    ops.listen()
    ops.start()
    url = f"http://127.0.0.1:{port}/livez"
    wait_until(lambda: probes.answers(url))
    ops.keep_running()
    assert log.lines == []

    (pid,) = set(children_of(os.getpid())) - set(before)
    os.kill(pid, signal.SIGKILL)

    def is_noticed() -> bool:
        ops.keep_running()
        return children_of(os.getpid()) == before

    wait_until(is_noticed)
    assert log.lines == [], "the last start is not long ago"

    ops._not_before = 0.0  # as an hour would do
    ops.keep_running()
    assert log.lines == ["The ops listener ended; it is started again."]
    wait_until(lambda: probes.answers(url))


def test_that_it_cannot_be_started_does_not_harm_the_master(
    ops: OpsProcess, log: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ops_process.sys, "executable", str(tmp_path / "nowhere"))
    ops.listen()
    ops.start()
    assert log.lines == ["The ops listener could not be started (No such file or directory)."]
    ops.keep_running()


def test_a_folder_that_cannot_be_made_is_one_line(ops: OpsProcess, tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("in the way")
    ops.listen()
    with pytest.raises(ConfigurationError, match=f"No folder for metrics at {tmp_path} \\(Not a directory\\)"):
        ops.start()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_ours_is_one_line(host: str, port: int, tmp_path: Path, log: Log) -> None:
    ops = OpsProcess(host=host, port=port, folder=tmp_path, environment={}, log=log)
    line = rf"^Port {port} on {host} cannot be used \(.*\): see VOCERO_OPS_PORT\.$"
    with pytest.raises(ConfigurationError, match=line):
        ops.listen()


def test_ipv6_is_served_too(port: int, tmp_path: Path, log: Log) -> None:
    ops = OpsProcess(host="::1", port=port, folder=tmp_path / "metrics", environment=dict(os.environ), log=log)
    ops.listen()
    ops.start()
    try:
        wait_until(lambda: probes.answers(f"http://[::1]:{port}/livez"))
    finally:
        ops.close()
    assert not (tmp_path / "metrics").exists()
