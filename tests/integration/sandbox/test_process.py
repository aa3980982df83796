"""The sandbox as a process: how it starts, what it says, how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.launcher.waiting import wait_until
from tests import servers
from tests.integration.sandbox.account import SENTENCE, Account, open_account, say
from tests.parts import require_module


def _run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *options]
    return subprocess.run(command, check=False, cwd=servers.ROOT, capture_output=True, text=True, timeout=30)


def _is_running(pid: int) -> bool:
    """Whether the process is there and not just waiting to be collected (Linux)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_with_everything_open(start_sandbox: Any, number: int) -> None:
    running = start_sandbox("--no-ears")
    process = running.child
    with open_account(running.url) as account, account.socket() as socket:
        say(socket, text=" ")
        with account.speak("/stream", stream=True, text=SENTENCE * 40):
            subprocess.run(["kill", f"-{int(number)}", str(process.pid)], check=True)
            wait_until(lambda: not _is_running(process.pid), 3.0, "the end of the sandbox")
    assert "Traceback" not in process.log_path.read_text()


def test_the_ears_process_ends_with_it(start_sandbox: Any, tmp_path: Path) -> None:
    require_module("faster_whisper", "local")
    running = start_sandbox("--warm-ears", "--state-folder", str(tmp_path))
    wait_until(lambda: bool(_children(running.child.pid)), 20.0, "the ears' process")
    children = _children(running.child.pid)
    running.child.stop()
    wait_until(lambda: not any(_is_running(child) for child in children), 5.0, "the end of the ears' process")


def test_it_says_in_one_line_where_it_is_and_what_is_real(paced: Account) -> None:
    require_module("espeakng_loader", "local")
    assert paced.log_path is not None
    (line,) = [line for line in paced.log_path.read_text().splitlines() if paced.url in line]
    assert line.endswith("plan pro: voice espeak-ng, ears none")


def test_a_taken_port_is_one_clear_line(paced: Account) -> None:
    port = paced.url.rpartition(":")[2]
    ended = _run("--port", port, "--no-ears")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"The sandbox cannot listen on 127.0.0.1:{port}: Address already in use. Use --port."
    )


@pytest.mark.parametrize("options", [("--plan", "gold"), ("--latency-scale", "-1"), ("--port", "99999")])
def test_wrong_options_are_refused_before_anything_starts(options: tuple[str, str]) -> None:
    ended = _run(*options)
    assert ended.returncode == 2
    assert options[0] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_agents_file_is_one_clear_line(tmp_path: Path) -> None:
    ended = _run("--agents", str(tmp_path / "nowhere.yaml"), "--port", "0", "--no-ears")
    assert ended.returncode == 2
    assert "nowhere.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_nothing_comes_before_the_models_latency(paced: Account) -> None:
    answer = paced.speak("/stream", model_id="eleven_multilingual_v2")
    assert int(answer.headers["tts-latency-ms"]) >= 350


def test_speech_is_not_sent_faster_than_its_pace(paced: Account) -> None:
    began = time.monotonic()
    answer = paced.speak("/stream", model_id="eleven_flash_v2_5")
    took = time.monotonic() - began
    seconds = len(answer.content) / 32_000
    assert seconds > 2.5
    assert took >= seconds / 4 - 0.1
