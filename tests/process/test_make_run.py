"""`make run`, its second stage: starts real processes on free ports, and leaves none behind, however it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import run as launcher
from scripts.launcher import probes
from scripts.launcher.waiting import wait_until
from tests.servers import ROOT, clean_environment, descendants_of, free_port, is_alive

READY_SECONDS = 120.0
END_SECONDS = 60.0


@dataclass(frozen=True)
class Launched:
    """A launcher that was started."""

    process: subprocess.Popen[bytes]
    output: Path
    state: Path
    port: int

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def key(self) -> str:
        found = re.search(r"API key\s+(vocero_\S+)", self.said)
        assert found, self.said
        return found.group(1)

    def wait_until_ready(self) -> list[int]:
        """Wait for the banner; the result is every process below the launcher."""
        wait_until(lambda: "Ctrl-C ends" in self.said or self.process.poll() is not None, READY_SECONDS, "the banner")
        assert self.process.poll() is None, self.said
        return descendants_of(self.process.pid)

    def wait_until_ended(self) -> int:
        return self.process.wait(END_SECONDS)


class Launch:
    """Starts launchers, and ends those that a failed test left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Launched] = []

    def __call__(self, **environment: str) -> Launched:
        port, state = free_port(), self._folder / "state"
        names = ("VOCERO_SANDBOX_PORT", "VOCERO_OPS_PORT", "VOCERO_DASHBOARD_PORT")
        ports = {"VOCERO_PORT": str(port), **{name: str(free_port()) for name in names}}
        settings = {"VOCERO_STATE_DIR": str(state), **ports, **environment}
        output = self._folder / f"output-{len(self._started)}"
        with output.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "scripts.run", "--env-file", os.devnull],
                env=clean_environment(**settings),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                process_group=0,
            )
        launched = Launched(process, output, state, port)
        self._started.append(launched)
        return launched

    def close(self) -> None:
        for launched in self._started:
            launched.process.kill()
            launched.process.wait(END_SECONDS)


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    launch = Launch(tmp_path)
    yield launch
    launch.close()


def assert_all_end(pids: list[int]) -> None:
    wait_until(lambda: not any(is_alive(pid) for pid in pids), END_SECONDS, "the end of every child")


def assert_one_line(launched: Launched, code: int = 1) -> str:
    """It ended with that code and one line, and had started nothing."""
    assert launched.wait_until_ended() == code
    assert launched.said.count("\n") == 1, launched.said
    assert not list(launched.state.glob("logs/*")), "nothing may have been started"
    return launched.said


def assert_state_is_private(launched: Launched) -> None:
    everything = [launched.state, *launched.state.rglob("*")]
    assert {path.name for path in everything} >= {"vocero.db", "development-api-key", "service.log", "valkey.sock"}
    open_to_others = [path for path in everything if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert open_to_others == []
    assert launched.key not in "".join(path.read_text() for path in launched.state.glob("logs/*.log"))


def test_it_serves_the_page_and_its_key_works_and_ctrl_c_ends_every_child_and_the_next_start_has_the_same_key(
    launch: Launch,
) -> None:
    """Two starts, each of which costs tens of seconds of CPU; so what concerns two launchers is asked here too."""
    first = launch()
    children = first.wait_until_ready()
    assert len(children) >= 6, "Valkey, the sandbox, the dashboard and the service, each with its worker"
    entrance = re.search(r"Dashboard   (http://\S+)/\n  Sign in as  admin, with the password (\S+) ", first.said)
    assert entrance, first.said
    dashboard, password = entrance.groups()
    assert probes.answers(f"{dashboard}/login")
    assert password not in "".join(path.read_text() for path in first.state.rglob("*.log"))
    assert f"http://127.0.0.1:{first.port}/" in first.said
    assert "SANDBOX" in first.said
    assert probes.answers(f"http://127.0.0.1:{first.port}/")
    request = urllib.request.Request(
        f"http://127.0.0.1:{first.port}/v1/convai/conversation/get-signed-url?agent_id=agent_demo",
        headers={"xi-api-key": first.key},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert f"127.0.0.1:{first.port}" in json.load(answer)["signed_url"]

    beside = launch()
    assert beside.wait_until_ended() == 1
    assert "another `make run` is using" in beside.said
    assert beside.said.count("\n") == 1
    assert probes.answers(f"http://127.0.0.1:{first.port}/livez"), "the first one's state was not touched"

    os.kill(first.process.pid, signal.SIGINT)
    assert first.wait_until_ended() == 0
    assert_all_end(children)
    assert "Stopped." in first.said
    assert "Traceback" not in first.said

    second = launch()
    children = second.wait_until_ready()
    assert second.key == first.key
    assert "password lost:" in second.said, "it is shown once"
    assert_state_is_private(second)
    os.kill(second.process.pid, signal.SIGKILL)
    assert_all_end(children)


@pytest.mark.long  # it is the same handler as Ctrl-C's
def test_sigterm_ends_every_child_too(launch: Launch) -> None:
    launched = launch()
    children = launched.wait_until_ready()
    os.kill(launched.process.pid, signal.SIGTERM)
    assert launched.wait_until_ended() == 0
    assert_all_end(children)


@pytest.mark.parametrize(
    "name", [pytest.param("valkey", marks=pytest.mark.long), pytest.param("sandbox", marks=pytest.mark.long), "service"]
)
def test_a_childs_death_ends_the_others_and_is_told_with_its_log(launch: Launch, name: str) -> None:
    launched = launch()
    children = launched.wait_until_ready()
    words = {"valkey": "valkey-server", "sandbox": "sandbox", "service": "service/gunicorn_conf.py"}[name]
    victim = next(pid for pid in children if words in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(victim, signal.SIGKILL)
    assert launched.wait_until_ended() == 1
    assert_all_end(children)
    assert f"{name} was ended by SIGKILL. The end of {launched.state}/logs/{name}.log:" in launched.said


def test_a_taken_port_is_one_line_with_the_variable_that_changes_it(launch: Launch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = assert_one_line(launch(VOCERO_PORT=str(port)))
    assert said.startswith(f"Port {port} on 127.0.0.1 is taken.")
    assert "VOCERO_PORT=" in said


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Run the launcher in this process: of what starts nothing, a process of its own costs most."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def run(**environment: str) -> tuple[int, str]:
        names = ("VOCERO_PORT", "VOCERO_SANDBOX_PORT", "VOCERO_OPS_PORT", "VOCERO_DASHBOARD_PORT")
        settings = {"VOCERO_STATE_DIR": str(tmp_path / "state"), **{name: str(free_port()) for name in names}}
        monkeypatch.setattr(os, "environ", clean_environment(**{**settings, **environment}))
        code = launcher.main(["--env-file", os.devnull])
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1, said.err
        assert not list(tmp_path.glob("state/logs/*")), "nothing may have been started"
        return code, said.err

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("variable", ["VOCERO_SANDBOX_PORT", "VOCERO_OPS_PORT", "VOCERO_DASHBOARD_PORT"])
def test_so_is_each_other_port(refused: Callable[..., tuple[int, str]], variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = refused(**{variable: str(port)})
    assert code == 1
    assert said.startswith(f"Port {port} on 127.0.0.1 is taken.")
    assert f"{variable}=" in said


@pytest.mark.parametrize(
    ("environment", "line", "code"),
    [
        ({"ELEVENLABS_API_KEY": "hunter2"}, "ELEVENLABS_AGENT_ID is not set", 78),
        ({"ELEVENLABS_BASE_URL": "https://api.example"}, "ELEVENLABS_API_KEY is not set", 78),
        ({"VOCERO_PORT": "hunter2"}, "VOCERO_PORT: ", 78),
        ({"VOCERO_SANDBOX_PORT": "hunter2"}, "VOCERO_SANDBOX_PORT: ", 78),
        ({"VOCERO_REDIS_URL": "redis://:hunter2@127.0.0.1:1/0"}, "VOCERO_REDIS_URL: no answer", 1),
        ({"VOCERO_DATABASE_URL": "mysql://u:hunter2@h/d"}, "VOCERO_DATABASE_URL: ", 78),
    ],
)
def test_a_setting_that_cannot_work_is_one_line_that_names_it(
    refused: Callable[..., tuple[int, str]], environment: dict[str, str], line: str, code: int
) -> None:
    ended, said = refused(**environment)
    assert ended == code
    assert said.startswith(line)
    assert "hunter2" not in said


def test_a_database_of_the_users_is_never_migrated_unasked(launch: Launch, tmp_path: Path) -> None:
    said = assert_one_line(launch(VOCERO_DATABASE_URL=f"sqlite:///{tmp_path}/theirs.db"))
    assert "the database has no schema yet; run: python -m migrations upgrade" in said
